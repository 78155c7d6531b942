"""The ledger: reserve before work starts, settle after it, book what comes late.

The ledger's lines are appended; the counters of run, tier and phase move in the same transaction by the
same amounts, so that the balance is one read however long the ledger is. Tokens and money go together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import PreparedInsert
from autopack_site.kernel.statements import Statement
from runs import caps, costs
from runs.caps import Envelope, Share
from runs.costs import Cost
from runs.models import Attempt, Phase, Run, Tier, TokenEntry


@dataclass(frozen=True)
class Usage:
    """What an agent said it used. `tokens` None means that it did not say."""

    tokens: int | None
    source: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, and money in millionths of a dollar."""

    tokens: int = 0
    micro_usd: int = 0

    def __bool__(self) -> bool:
        return bool(self.tokens or self.micro_usd)

    def __neg__(self) -> Amount:
        return Amount(-self.tokens, -self.micro_usd)


NOTHING = Amount()
UNKNOWN_USAGE = Usage(None, Attempt.UsageSource.UNKNOWN, {})
# One statement, as it is part of every attempt: a phase, its tier and its run, by their keys.
_count_all = Statement(
    """
WITH phase AS (
    UPDATE runs_phase SET
        tokens_reserved = tokens_reserved + %(held)s,
        tokens_used = tokens_used + %(used)s,
        audit_tokens_reserved = audit_tokens_reserved + %(audit_held)s,
        audit_tokens_used = audit_tokens_used + %(audit)s,
        cost_reserved_micro_usd = cost_reserved_micro_usd + %(money_held)s,
        cost_micro_usd = cost_micro_usd + %(money)s
    WHERE id = %(phase)s RETURNING run_id, tier_id
), tier AS (
    UPDATE runs_tier AS t SET
        tokens_reserved = t.tokens_reserved + %(held)s,
        tokens_used = t.tokens_used + %(used)s,
        audit_tokens_reserved = t.audit_tokens_reserved + %(audit_held)s,
        audit_tokens_used = t.audit_tokens_used + %(audit)s,
        cost_reserved_micro_usd = t.cost_reserved_micro_usd + %(money_held)s,
        cost_micro_usd = t.cost_micro_usd + %(money)s
    FROM phase WHERE t.id = phase.tier_id
)
UPDATE runs_run AS r SET
        tokens_reserved = r.tokens_reserved + %(held)s,
        tokens_used = r.tokens_used + %(used)s,
        audit_tokens_reserved = r.audit_tokens_reserved + %(audit_held)s,
        audit_tokens_used = r.audit_tokens_used + %(audit)s,
        cost_reserved_micro_usd = r.cost_reserved_micro_usd + %(money_held)s,
        cost_micro_usd = r.cost_micro_usd + %(money)s
FROM phase WHERE r.run_id = phase.run_id
""",
    label="count_tokens",
)
_entry = PreparedInsert(TokenEntry)


@dataclass(frozen=True)
class Reservation:
    """What an attempt that starts is given; what nothing limits is None and holds nothing."""

    tokens: Share
    money: Share = field(default_factory=lambda: Share(None, ""))

    @property
    def held(self) -> Amount:
        """Return what is held while it works."""
        return Amount(self.tokens.amount or 0, self.money.amount or 0)


def reservation(run: Run, tier: Tier, phase: Phase, kind: Envelope) -> Reservation:
    """Return what one attempt of the phase holds while it works."""
    found = caps.accounts(run, tier, phase, kind)
    return Reservation(*(caps.share(found, phase.limits, unit) for unit in caps.UNITS))


def reserve(attempt: Attempt, given: Reservation) -> None:
    """Hold what an attempt that starts is given, and write it down."""
    held = given.held
    values = {
        "token_cap": given.tokens.amount,
        "token_limit": given.tokens.limit,
        "cost_cap_micro_usd": given.money.amount,
        "cost_limit": given.money.limit,
        "tokens_reserved": held.tokens,
        "cost_reserved_micro_usd": held.micro_usd,
    }
    for name, value in values.items():
        setattr(attempt, name, value)
    Attempt.objects.filter(pk=attempt.pk).update(**values)
    _append(
        attempt,
        TokenEntry.Kind.RESERVE,
        held.tokens,
        held.micro_usd,
        Attempt.UsageSource.DERIVED,
        "attempt starts",
    )
    _count(attempt, held=held)


def settle(attempt: Attempt, usage: Usage, *, reason: str) -> None:
    """Return what was held and book what was used; what is unknown is booked as unknown, never as 0."""
    held = Amount(attempt.tokens_reserved, attempt.cost_reserved_micro_usd)
    cost = costs.of_usage(attempt, usage.tokens, usage.detail)
    if held or not attempt.token_entries.filter(kind=TokenEntry.Kind.RELEASE).exists():
        derived = Attempt.UsageSource.DERIVED
        _append(attempt, TokenEntry.Kind.RELEASE, held.tokens, held.micro_usd, derived, reason)
    _append(attempt, TokenEntry.Kind.SETTLE, usage.tokens, cost.micro_usd, usage.source, reason)
    _count(attempt, held=-held, used=Amount(usage.tokens or 0, cost.micro_usd or 0))
    attempt.tokens_reserved = attempt.cost_reserved_micro_usd = 0
    _keep(attempt, usage, cost)


def book_late(attempt: Attempt, usage: Usage) -> None:
    """Book usage that arrived after the attempt was settled, over any cap: it is spent all the same.

    Neither figure may be lower than what was booked: a figure that is unknown now stays what it was.
    """
    cost = costs.of_usage(attempt, usage.tokens, usage.detail)
    more = Amount(_risen(attempt.tokens_used, usage.tokens), _risen(attempt.cost_micro_usd, cost.micro_usd))
    _append(attempt, TokenEntry.Kind.ADJUST, more.tokens, more.micro_usd, usage.source, "reported late")
    _count(attempt, used=more)
    if usage.tokens is None:
        usage = Usage(attempt.tokens_used, attempt.usage_source, usage.detail)
    if cost.micro_usd is None:
        cost = Cost(attempt.cost_micro_usd, attempt.priced_micro_usd)
    _keep(attempt, usage, cost)


def adjust(phase: Phase, tokens: int, *, reason: str) -> int:
    """Bring the phase's spent tokens to an absolute figure by signed entries; return the difference.

    The builders' envelope takes it; what is less than builders have used is taken from the auditors'. The caller
    holds the run's row lock and has read the phase under it.
    """
    change = tokens - phase.tokens_used
    if not change:
        return 0
    of_build = max(change, phase.audit_tokens_used - phase.tokens_used)
    parts: tuple[tuple[Envelope, int], ...] = (("build", of_build), ("audit", change - of_build))
    for kind, part in parts:
        if part:
            _append_alone(phase, kind, Amount(part), Attempt.UsageSource.REPORTED, reason)
    _add(phase.pk, used=Amount(change), audit=change - of_build)
    phase.tokens_used, phase.audit_tokens_used = tokens, phase.audit_tokens_used + change - of_build
    return change


def book_alone(phase: Phase, kind: Envelope, more: Amount, source: str) -> None:
    """Book what was used late and for no attempt, over any cap. The caller holds the run's row lock."""
    _append_alone(phase, kind, more, source, "reported late")
    _add(phase.pk, used=more, audit=more.tokens if kind == "audit" else 0)


def _append_alone(phase: Phase, kind: Envelope, amount: Amount, source: str, reason: str) -> None:
    TokenEntry.objects.create(
        run_id=phase.run_id,
        tier_id=phase.tier_id,
        phase=phase,
        kind=TokenEntry.Kind.ADJUST,
        envelope=kind,
        tokens=amount.tokens,
        micro_usd=amount.micro_usd,
        usage_source=source,
        reason=reason,
        at=clock.now(),
    )


def _risen(before: int | None, now: int | None) -> int:
    return 0 if now is None else max(now - (before or 0), 0)


def _count(attempt: Attempt, *, held: Amount = NOTHING, used: Amount = NOTHING) -> None:
    """Add to the counters of attempt's phase, tier and run. Callers hold the run's row lock."""
    if held or used:
        is_audit = caps.envelope(attempt) == "audit"
        _add(
            attempt.phase_id,
            held=held,
            used=used,
            audit_held=held.tokens if is_audit else 0,
            audit=used.tokens if is_audit else 0,
        )


def _add(
    phase_pk: int, *, held: Amount = NOTHING, used: Amount = NOTHING, audit_held: int = 0, audit: int = 0
) -> None:
    _count_all(
        {
            "phase": phase_pk,
            "held": held.tokens,
            "used": used.tokens,
            "audit_held": audit_held,
            "audit": audit,
            "money_held": held.micro_usd,
            "money": used.micro_usd,
        }
    )


def _append(
    attempt: Attempt, kind: str, tokens: int | None, micro_usd: int | None, source: str, reason: str
) -> None:
    _entry(
        run_id=attempt.run_id,
        tier_id=attempt.phase.tier_id,
        phase_id=attempt.phase_id,
        attempt=attempt,
        kind=kind,
        envelope=caps.envelope(attempt),
        tokens=tokens,
        micro_usd=micro_usd,
        usage_source=source,
        reason=reason,
        at=clock.now(),
    )


def _keep(attempt: Attempt, usage: Usage, cost: Cost) -> None:
    """Keep what the attempt is now known to have used, in memory and in its row."""
    values = {
        "tokens_reserved": attempt.tokens_reserved,
        "cost_reserved_micro_usd": attempt.cost_reserved_micro_usd,
        "tokens_used": usage.tokens,
        "usage_source": usage.source,
        "usage": usage.detail,
        "priced_micro_usd": cost.priced,
        "cost_micro_usd": cost.micro_usd,
    }
    for name, value in values.items():
        setattr(attempt, name, value)
    Attempt.objects.filter(pk=attempt.pk).update(**values)
