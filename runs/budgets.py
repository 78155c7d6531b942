"""Caps and the token ledger: reserve before work starts, settle after it, book what comes late.

The ledger's lines are appended; the counters of run, tier and phase move in the same transaction by the
same amounts, so that the balance is one read however long the ledger is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import PreparedInsert
from runs.models import Attempt, Phase, Run, Tier, TokenEntry


@dataclass(frozen=True)
class Usage:
    """What an agent said it used. `tokens` None means that it did not say."""

    tokens: int | None
    source: str
    detail: dict[str, Any]


# One statement, as it is part of every attempt: a phase, its tier and its run, by their keys.
_COUNT = """
WITH phase AS (
    UPDATE runs_phase SET tokens_reserved = tokens_reserved + %s, tokens_used = tokens_used + %s
    WHERE id = %s RETURNING run_id, tier_id
), tier AS (
    UPDATE runs_tier AS t SET tokens_reserved = tokens_reserved + %s, tokens_used = tokens_used + %s
    FROM phase WHERE t.id = phase.tier_id
)
UPDATE runs_run AS r SET tokens_reserved = tokens_reserved + %s, tokens_used = tokens_used + %s
FROM phase WHERE r.run_id = phase.run_id
"""
_entry = PreparedInsert(TokenEntry)
UNKNOWN_USAGE = Usage(None, Attempt.UsageSource.UNKNOWN, {})


@dataclass(frozen=True)
class Breach:
    """A cap that the next piece of work would break, or has broken."""

    limit: str
    level: str  # run | tier | phase
    detail: str


def envelope(attempt: Attempt) -> str:
    """Return which envelope pays for the attempt."""
    return "build" if attempt.kind == Attempt.Kind.BUILD else "audit"


def reservation(phase: Phase) -> int:
    """Return how many tokens one attempt of the phase holds while it works."""
    remaining = int(phase.limits["incident_token_cap"]) - phase.tokens_used - phase.tokens_reserved
    return max(min(int(phase.limits["max_attempt_tokens"]), remaining), 0)


def token_breach(run: Run, tier: Tier, phase: Phase) -> Breach | None:
    """Return the cap that starting one more attempt would break, counting what is spent only.

    What others hold now may come back: `must_wait` tells that apart from a breach.
    """
    cap = int(phase.limits["incident_token_cap"])
    if phase.tokens_used >= cap:
        return Breach("incident_token_cap", "phase", f"{phase.tokens_used} of {cap} tokens are spent")
    need = min(int(phase.limits["max_attempt_tokens"]), cap - phase.tokens_used)
    if tier.tokens_used + need > tier.token_cap:
        return Breach(
            "tier_token_cap",
            "tier",
            f"{tier.tokens_used} of {tier.token_cap} spent, the next attempt needs {need}",
        )
    if run.tokens_used + need > run.token_cap:
        return Breach(
            "run_token_cap",
            "run",
            f"{run.tokens_used} of {run.token_cap} spent, the next attempt needs {need}",
        )
    return None


def must_wait(run: Run, tier: Tier, phase: Phase) -> bool:
    """Tell whether what others have reserved leaves too little for one more attempt right now."""
    need = reservation(phase)
    return (
        need == 0
        or run.tokens_used + run.tokens_reserved + need > run.token_cap
        or tier.tokens_used + tier.tokens_reserved + need > tier.token_cap
    )


def issue_breach(run: Run) -> Breach | None:
    """Return the run's issue cap if more minor issues were seen than it allows."""
    if run.minor_issues_count > run.max_minor_issues_total:
        return Breach(
            "run_max_minor_issues_total",
            "run",
            f"{run.minor_issues_count} minor issues, {run.max_minor_issues_total} are allowed",
        )
    return None


def gate_breach(tier: Tier) -> Breach | None:
    """Return the tier's gate-run cap if one more gate would break it."""
    if tier.ci_runs_used + 1 > tier.ci_run_cap:
        return Breach(
            "tier_ci_run_cap", "tier", f"{tier.ci_runs_used} of {tier.ci_run_cap} gate runs are used"
        )
    return None


def _count(attempt: Attempt, *, reserved: int = 0, used: int = 0) -> None:
    """Add to the counters of attempt's phase, tier and run. Callers hold the run's row lock."""
    if reserved or used:
        _add(attempt.phase_id, reserved=reserved, used=used)


def _add(phase_pk: int, *, reserved: int = 0, used: int = 0) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [reserved, used, phase_pk, reserved, used, reserved, used])


def _append(attempt: Attempt, kind: str, tokens: int | None, source: str, reason: str) -> None:
    _entry(
        run_id=attempt.run_id,
        tier_id=attempt.phase.tier_id,
        phase_id=attempt.phase_id,
        attempt=attempt,
        kind=kind,
        envelope=envelope(attempt),
        tokens=tokens,
        usage_source=source,
        reason=reason,
        at=clock.now(),
    )


def reserve(attempt: Attempt, tokens: int) -> None:
    """Hold tokens for an attempt that starts."""
    attempt.tokens_reserved = tokens
    Attempt.objects.filter(pk=attempt.pk).update(tokens_reserved=tokens)
    _append(attempt, TokenEntry.Kind.RESERVE, tokens, Attempt.UsageSource.DERIVED, "attempt starts")
    _count(attempt, reserved=tokens)


def settle(attempt: Attempt, usage: Usage, *, reason: str) -> None:
    """Return what was held and book what was used; unknown usage is booked as unknown, never as 0."""
    held = attempt.tokens_reserved
    if held or not attempt.token_entries.filter(kind=TokenEntry.Kind.RELEASE).exists():
        _append(attempt, TokenEntry.Kind.RELEASE, held, Attempt.UsageSource.DERIVED, reason)
    _append(attempt, TokenEntry.Kind.SETTLE, usage.tokens, usage.source, reason)
    _count(attempt, reserved=-held, used=usage.tokens or 0)
    attempt.tokens_reserved, attempt.tokens_used = 0, usage.tokens
    attempt.usage_source, attempt.usage = usage.source, usage.detail
    Attempt.objects.filter(pk=attempt.pk).update(
        tokens_reserved=0, tokens_used=usage.tokens, usage_source=usage.source, usage=usage.detail
    )


def book_late(attempt: Attempt, usage: Usage) -> None:
    """Book usage that arrived after the attempt was settled, over any cap: it is spent all the same."""
    before = attempt.tokens_used or 0
    now = usage.tokens or 0
    _append(attempt, TokenEntry.Kind.ADJUST, now - before, usage.source, "reported late")
    _count(attempt, used=now - before)
    attempt.tokens_used, attempt.usage_source, attempt.usage = now, usage.source, usage.detail
    Attempt.objects.filter(pk=attempt.pk).update(
        tokens_used=now, usage_source=usage.source, usage=usage.detail
    )


def adjust(phase: Phase, tokens: int, *, reason: str) -> int:
    """Bring the phase's spent tokens to an absolute figure by one signed entry; return the difference.

    The caller holds the run's row lock and has read the phase under it.
    """
    change = tokens - phase.tokens_used
    if change:
        TokenEntry.objects.create(
            run_id=phase.run_id,
            tier_id=phase.tier_id,
            phase=phase,
            kind=TokenEntry.Kind.ADJUST,
            envelope="build",
            tokens=change,
            usage_source=Attempt.UsageSource.REPORTED,
            reason=reason,
            at=clock.now(),
        )
        _add(phase.pk, used=change)
        phase.tokens_used = tokens
    return change
