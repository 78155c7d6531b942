"""Which caps there are, what of each is left, and which one the next piece of work would break. Pure.

A cap is of one level (phase, tier, run), one unit (tokens, money) and one envelope (build, audit, or both). An
attempt draws on every cap of its envelope at once, at each level. Money is in millionths of a dollar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from runs.models import Attempt, Phase, Run, Tier
from strategy.limits import MICRO, cap_of, micro_usd

Unit = Literal["tokens", "micro_usd"]
Envelope = Literal["build", "audit"]
UNITS: tuple[Unit, Unit] = ("tokens", "micro_usd")
_SHARES = {"tokens": "max_attempt_tokens", "micro_usd": "max_attempt_cost_usd"}


@dataclass(frozen=True)
class Breach:
    """A cap that the next piece of work would break, or has broken."""

    limit: str
    level: str  # run | tier | phase
    detail: str


@dataclass(frozen=True, slots=True)
class Account:
    """One cap with what of it is spent and held."""

    limit: str
    level: str
    unit: Unit
    cap: int
    used: int
    held: int

    @property
    def left(self) -> int:
        """Return what is neither spent nor held; below zero where more was spent than allowed."""
        return self.cap - self.used - self.held


@dataclass(frozen=True, slots=True)
class Share:
    """What one attempt is given of a unit, and the cap that sets it; `amount` None: nothing limits it."""

    amount: int | None
    limit: str


def envelope(attempt: Attempt) -> Envelope:
    """Return which envelope pays for the attempt."""
    return "build" if attempt.kind == Attempt.Kind.BUILD else "audit"


def shown(unit: Unit, amount: int) -> str:
    """Return an amount for people."""
    if unit == "tokens":
        return f"{amount}"
    dollars, rest = divmod(amount, MICRO)
    return f"${dollars:,}.{f'{rest:06}'.rstrip('0'):0<2}"


def accounts(run: Run, tier: Tier, phase: Phase, kind: Envelope) -> list[Account]:
    """Return every cap that an attempt of the envelope draws on, the phase's first, the run's last."""
    own = phase.limits
    return [
        *_of(
            "phase", "", phase, kind,
            whole=cap_of(own["incident_token_cap"]), part=cap_of(own.get(f"{kind}_token_cap")),
            money=micro_usd(own.get("incident_cost_cap_usd")),
        ),
        *_of("tier", "tier_", tier, kind, *_caps(tier, kind)),
        *_of("run", "run_", run, kind, *_caps(run, kind)),
    ]  # fmt: skip


def _caps(row: Run | Tier, kind: Envelope) -> tuple[int | None, int | None, int | None]:
    part = row.build_token_cap if kind == "build" else row.audit_token_cap
    return row.token_cap, part, row.cost_cap_micro_usd


def _of(
    level: str,
    prefix: str,
    row: Run | Tier | Phase,
    kind: Envelope,
    whole: int | None,
    part: int | None,
    money: int | None,
) -> Iterator[Account]:
    used, held = row.audit_tokens_used, row.audit_tokens_reserved
    if kind == "build":
        used, held = row.tokens_used - used, row.tokens_reserved - held
    first = "incident_" if level == "phase" else prefix
    if whole is not None:
        yield Account(f"{first}token_cap", level, "tokens", whole, row.tokens_used, row.tokens_reserved)
    if part is not None:
        yield Account(f"{prefix}{kind}_token_cap", level, "tokens", part, used, held)
    if money is not None:
        spent, kept = row.cost_micro_usd, row.cost_reserved_micro_usd
        yield Account(f"{first}cost_cap_usd", level, "micro_usd", money, spent, kept)


def share(found: list[Account], limits: Mapping[str, Any], unit: Unit) -> Share:
    """Return what an attempt that starts now is given: its share, or what its phase has left where that is less.

    Where neither its strategy nor its phase limits it, it is given what its tier and run have left.
    """
    name = _SHARES[unit]
    said = limits.get(name)
    amount = cap_of(said) if unit == "tokens" else micro_usd(said)
    chosen = Share(amount, name if amount is not None else "")
    of_unit = [account for account in found if account.unit == unit]
    of_phase = [account for account in of_unit if account.level == "phase"]
    for account in of_unit if chosen.amount is None and not of_phase else of_phase:
        if chosen.amount is None or account.left < chosen.amount:
            chosen = Share(max(account.left, 0), account.limit)
    return chosen


def _needed(found: list[Account], limits: Mapping[str, Any], unit: Unit) -> int | None:
    """Return what the next attempt needs when nobody holds anything: what `share` gives then."""
    return share([replace(account, held=0) for account in found], limits, unit).amount


def spending_breach(run: Run, tier: Tier, phase: Phase, kind: Envelope) -> Breach | None:
    """Return the cap that starting one more attempt would break, counting what is spent only.

    What others hold now may come back: `must_wait` tells that apart from a breach.
    """
    return breach_of(accounts(run, tier, phase, kind), phase.limits)


def breach_of(found: list[Account], limits: Mapping[str, Any]) -> Breach | None:
    """Return the cap among these that starting one more attempt under the limits would break."""
    # A phase's cap is never above its run's, and a tier's is made of its phases': of several the cause comes first.
    spent = [account for account in found if account.used >= account.cap]
    if spent:
        cause = next((account for account in spent if account.level == "run"), spent[0])
        return Breach(cause.limit, cause.level, f"{_spent(cause)} are spent")
    for unit in UNITS:
        need = _needed(found, limits, unit)
        for account in found:
            if account.unit != unit or account.level == "phase" or need is None:
                continue
            if account.used + need > account.cap:
                text = f"{_spent(account)} are spent, the next attempt needs {shown(unit, need)}"
                return Breach(account.limit, account.level, text)
        if need == 0:
            what = "tokens" if unit == "tokens" else "money"
            return Breach(_SHARES[unit], "phase", f"An attempt is allowed no {what} at all")
    return None


def _spent(account: Account) -> str:
    text = f"{shown(account.unit, account.used)} of {shown(account.unit, account.cap)}"
    return f"{text} tokens" if account.unit == "tokens" else text


def start_breach(run: Run, tier: Tier, phase: Phase, kind: Envelope) -> Breach | None:
    """Return the cap that keeps an attempt from starting: attempts and turns that are 0, tokens, money."""
    name = "max_builder_attempts" if kind == "build" else "max_auditor_attempts"
    done = phase.builder_attempts if kind == "build" else phase.auditor_attempts
    if done >= int(phase.limits[name]):
        return Breach(name, "phase", f"{done} of {phase.limits[name]} attempts are used")
    if phase.limits.get("max_turns") == 0:
        return Breach("max_turns", "phase", "An attempt is allowed no turn at all")
    return spending_breach(run, tier, phase, kind)


def must_wait(run: Run, tier: Tier, phase: Phase, kind: Envelope) -> bool:
    """Tell whether what others have reserved leaves too little for one more attempt right now."""
    found = accounts(run, tier, phase, kind)
    for unit in UNITS:
        need = share(found, phase.limits, unit).amount
        if need == 0:
            return True
        if need is not None and any(account.left < need for account in found if account.unit == unit):
            return True
    return False


def issue_breach(run: Run) -> Breach | None:
    """Return the run's issue cap if more minor issues were seen than it allows."""
    if run.minor_issues_count > run.max_minor_issues_total:
        return Breach(
            "run_max_minor_issues_total",
            "run",
            f"{run.minor_issues_count} minor issues, {run.max_minor_issues_total} are allowed",
        )
    return None


def tier_issue_breach(tier: Tier) -> Breach | None:
    """Return the tier's issue cap if more issues were seen in it than it tolerates; of both that of major ones."""
    for severity, seen, most in (
        ("major", tier.major_issues_count, tier.max_major_issues),
        ("minor", tier.minor_issues_count, tier.max_minor_issues),
    ):
        if seen > most:
            name = f"tier_max_{severity}_issues_tolerated"
            return Breach(name, "tier", f"{seen} {severity} issues, {most} are tolerated")
    return None


def gate_breach(tier: Tier) -> Breach | None:
    """Return the tier's gate-run cap if one more gate would break it."""
    if tier.ci_runs_used + 1 > tier.ci_run_cap:
        return Breach(
            "tier_ci_run_cap", "tier", f"{tier.ci_runs_used} of {tier.ci_run_cap} gate runs are used"
        )
    return None
