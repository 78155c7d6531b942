"""Spending while an attempt works: what is reported, how near its caps it is, and when it must stop.

Figures come by heartbeat, cumulative for the attempt, and only grow. At NOTICE_PERCENT of a cap the agent is told, at
the whole of it it has BUDGET_GRACE_S seconds to hand in what it has. Callers hold the row lock of the lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from autopack_site.kernel import clock
from runs import budgets, caps, costs, rows
from runs.figures import Figures, names_of, read
from runs.models import Attempt, Meter, Phase
from strategy.limits import dollars

NOTICE_PERCENT = 80
_RANK = {"ok": 0, "nearly_spent": 1, "spent": 2}


@dataclass(frozen=True)
class Cap:
    """One cap of an attempt: its name, what is spent of it (None: unknown) and how much that may be, in its unit."""

    name: str
    spent: int | None
    cap: int
    unit: caps.Unit = "tokens"

    @property
    def state(self) -> str:
        """Return `ok`, `nearly_spent` or `spent`; what is unknown is ok."""
        if self.spent is None:
            return "ok"
        if self.spent >= self.cap:
            return "spent"
        return "nearly_spent" if self.spent * 100 >= NOTICE_PERCENT * self.cap else "ok"

    @property
    def words(self) -> str:
        """Return what is spent of what."""
        return f"{caps.shown(self.unit, self.spent or 0)} of {caps.shown(self.unit, self.cap)}"


@dataclass(frozen=True)
class Budget:
    """What an agent is told of its budget. `spent` and `cap` are tokens; `limit` is the cap that `state` is about.

    Money is in millionths of a dollar. None: unknown, or no cap.
    """

    spent: int | None
    cap: int | None
    state: str = "ok"
    limit: str | None = None
    stop_by: datetime | None = None
    turns: int | None = None
    turn_cap: int | None = None
    cost_micro_usd: int | None = None
    cost_cap_micro_usd: int | None = None

    @property
    def cost_usd(self) -> float | None:
        """What it has cost so far, in dollars."""
        return dollars(self.cost_micro_usd)

    @property
    def cost_cap_usd(self) -> float | None:
        """What it may cost, in dollars."""
        return dollars(self.cost_cap_micro_usd)


@dataclass(frozen=True)
class Change:
    """What a report has changed that the run's history should tell."""

    event: str
    why: str
    data: dict[str, Any]


def caps_of(
    attempt: Attempt, limits: dict[str, Any] | None, figures: Figures, micro_usd: int | None
) -> list[Cap]:
    """Return the caps of an attempt: the tokens and the money that it was given and, where there are any, turns.

    None without limits: an attempt that has ended is judged no more.
    """
    found: list[Cap] = []
    if limits is None:
        return found
    if attempt.token_cap is not None:
        found.append(Cap(attempt.token_limit or "max_attempt_tokens", figures.total, attempt.token_cap))
    if attempt.cost_cap_micro_usd is not None:
        found.append(Cap(attempt.cost_limit, micro_usd, attempt.cost_cap_micro_usd, "micro_usd"))
    turns = limits.get("max_turns")
    if isinstance(turns, int):
        found.append(Cap("max_turns", figures.turns, turns))
    return found


def budget_of(attempt: Attempt, meter: Meter | None, limits: dict[str, Any]) -> Budget:
    """Return what the attempt's agent is told now."""
    turn_cap = limits.get("max_turns")
    if meter is None:
        return Budget(
            None, attempt.token_cap, turn_cap=turn_cap, cost_cap_micro_usd=attempt.cost_cap_micro_usd
        )
    return Budget(
        spent=meter.tokens,
        cap=attempt.token_cap,
        state=str(meter.state),
        limit=meter.limit or None,
        stop_by=meter.stop_by,
        turns=meter.turns,
        turn_cap=turn_cap,
        cost_micro_usd=meter.cost_micro_usd,
        cost_cap_micro_usd=attempt.cost_cap_micro_usd,
    )


def report(
    attempt: Attempt, limits: dict[str, Any] | None, meter: Meter | None, figures: Figures, *, now: datetime
) -> tuple[Meter, list[Change]]:
    """Take a report in; return the meter as it then stands and what is worth telling.

    The state only rises. A lower figure is ignored; the first report with one is told, all are counted.
    """
    if meter is None:
        meter = Meter(attempt_id=attempt.pk, reported_at=now)
    grown, lower = read(meter.figures).grown(figures)
    changes = []
    if lower:
        if not meter.lower_reports:
            why = f"A report was lower than one before it and is ignored: {names_of(lower)}"
            changes.append(Change("usage_fell", why, {"attempt": attempt.pk, "reported": figures.to_json()}))
        meter.lower_reports += 1
    meter.reports += 1
    meter.reported_at = now
    meter.figures = grown.to_json()
    meter.tokens, meter.turns = grown.total, grown.turns
    meter.cost_micro_usd = costs.of(attempt, grown, limits or {}).micro_usd
    found = caps_of(attempt, limits, grown, meter.cost_micro_usd)
    if found:
        worst = max(found, key=lambda cap: (_RANK[cap.state], (cap.spent or 0) / cap.cap if cap.cap else 1.0))
        if _RANK[worst.state] > _RANK[str(meter.state)]:
            meter.state, meter.limit = worst.state, worst.name
            if worst.state == "spent":
                meter.stop_by = now + timedelta(seconds=settings.BUDGET_GRACE_S)
            changes.append(
                Change(
                    f"budget_{worst.state}",
                    f"{worst.name}: {worst.words} are spent",
                    {
                        "attempt": attempt.pk,
                        "limit": worst.name,
                        "unit": worst.unit,
                        "spent": worst.spent,
                        "cap": worst.cap,
                    },
                )
            )
    meter.save()
    return meter, changes


def of(attempt: Attempt) -> Meter | None:
    """Return the attempt's meter, None where nothing was reported while it worked."""
    return rows.meter_of_attempt.first(attempt.pk)


def keep(attempt: Attempt, figures: Figures) -> None:
    """Keep the last figures of an attempt that is about to be closed: its settlement reads them."""
    if figures.total is not None:
        report(attempt, None, of(attempt), figures, now=clock.database_now())


def spent_cap(attempt: Attempt) -> str:
    """Return the cap that the attempt has spent while it worked, "" for none."""
    meter = of(attempt)
    return meter.limit if meter is not None and meter.state == Meter.State.SPENT else ""


def known(attempt: Attempt, usage: budgets.Usage) -> budgets.Usage:
    """Return the usage of a result with what was reported before it: the higher of each figure."""
    meter = of(attempt)
    if meter is None:
        return usage
    before = read(meter.figures)
    after, _lower = before.grown(read({**usage.detail, "tokens": usage.tokens}))
    return usage_from(after, detail=usage.detail)


def usage_from(figures: Figures, *, detail: dict[str, Any] | None = None) -> budgets.Usage:
    """Return figures as the ledger takes them."""
    source = Attempt.UsageSource.UNKNOWN
    if figures.total is not None:
        source = Attempt.UsageSource.DERIVED if figures.is_derived else Attempt.UsageSource.REPORTED
    found = {**(detail or {}), **figures.to_json()}
    if "tokens" not in (detail or {}):
        found.pop("tokens", None)  # a column of its own
    return budgets.Usage(figures.total, source, found)


def settle(attempt: Attempt, usage: budgets.Usage, *, reason: str) -> None:
    """Settle the attempt with the highest figures that are known: a worker's death loses none that was reported."""
    budgets.settle(attempt, known(attempt, usage), reason=reason)


def book_late(attempt: Attempt, usage: budgets.Usage) -> bool:
    """Book what came after the attempt was settled; a lower figure is ignored. Tell whether anything was booked."""
    usage = known(attempt, usage)
    cost = costs.of_usage(attempt, usage.tokens, usage.detail)
    is_news = _is_more(attempt.tokens_used, usage.tokens) or _is_more(attempt.cost_micro_usd, cost.micro_usd)
    if is_news:
        budgets.book_late(attempt, usage)
    return is_news


def book_alone(phase: Phase, kind: caps.Envelope, before: Figures, usage: budgets.Usage) -> bool:
    """Book usage that came for no attempt, beyond `before`: what is booked of the same work already.

    Tell whether anything was booked.
    """
    figures, _lower = before.grown(read({**usage.detail, "tokens": usage.tokens}))
    today = clock.now().date()
    known, cost = (costs.on(today, part, phase.limits).micro_usd for part in (before, figures))
    more = budgets.Amount((figures.total or 0) - (before.total or 0), max((cost or 0) - (known or 0), 0))
    if more:
        budgets.book_alone(phase, kind, more, usage.source)
    return bool(more)


def _is_more(before: int | None, now: int | None) -> bool:
    return now is not None and (before is None or now > before)
