"""What has happened in a window of time, counted by SQL from the rows that record it.

Every row has one moment at which it counts, which never changes after it is written: so windows that meet
count each row once. Each query is served by an index on that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import (
    Case,
    Count,
    F,
    FloatField,
    Func,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform

from integration.metrics.catalogue import METRICS
from integration.metrics.cells import INFINITE, Cell, Key
from integration.models import GateRun
from runs.models import Attempt, Lease, TokenEntry, Transition
from strategy.limits import MICRO

NOBODY = "none"  # the agent of a correction that an operator booked
Window = tuple[datetime, datetime | None]


def read(window: Window) -> list[Cell]:
    """Return the cells of a window (from its start on, before its end; None is no end). Six queries."""
    return [
        *_gates(window),
        *_flakes(window),
        *_applies(window),
        *_tokens(window),
        *_costs(window),
        *_expiries(window),
    ]


def _within(field: str, window: Window) -> Q:
    since, until = window
    inside = Q(**{f"{field}__gte": since})
    return inside if until is None else inside & Q(**{f"{field}__lt": until})


def _seconds(start: Any, end: Any) -> Func:
    return Func(
        end - start, template="GREATEST(EXTRACT(EPOCH FROM %(expressions)s), 0)", output_field=FloatField()
    )


def _histogram(name: str, rows: Any, labels: tuple[str, ...]) -> Iterable[Cell]:
    """Yield the cells of rows annotated with `seconds`, by labels and bucket."""
    bounds = METRICS[name].buckets
    le = Case(*(When(seconds__lte=bound, then=Value(bound)) for bound in bounds), default=Value(INFINITE),
              output_field=FloatField())  # fmt: skip
    counted = rows.order_by().annotate(le=le).values(*labels, "le")
    for row in counted.annotate(rows=Count("pk"), total=Sum("seconds")).order_by(*labels, "le"):
        key = Key(name, tuple(row[label] for label in labels), row["le"])
        yield Cell(key, row["rows"], row["total"])


def _gates(window: Window) -> Iterable[Cell]:
    done = GateRun.objects.filter(_within("ended_at", window), state="DONE", started_at__isnull=False)
    rows = done.annotate(seconds=_seconds(F("started_at"), F("ended_at"))).values("seconds")
    return _histogram("autopack_gate_duration_seconds", rows, ("profile", "verdict"))


def _flakes(window: Window) -> Iterable[Cell]:
    flaky = GateRun.objects.filter(_within("ended_at", window), state="DONE", verdict=GateRun.Verdict.FLAKY)
    return _by_project("autopack_flaky_gates_total", flaky, "ended_at")


def _applies(window: Window) -> Iterable[Cell]:
    """Yield how long the governed apply took: submission to candidate or refusal, of builds on their first base."""
    events = Transition.objects.applied_or_refused().filter(_within("at", window))
    attempts = Attempt.objects.filter(pk=OuterRef("attempt"), submitted_at__isnull=False)
    timed = events.annotate(attempt=KeyTextTransform("attempt", "data")).annotate(
        submitted_at=Subquery(attempts.values("submitted_at")),
        outcome=Case(When(event="applied", then=Value("candidate")), default=Value("refused")),
    )
    rows = timed.filter(submitted_at__isnull=False).annotate(seconds=_seconds(F("submitted_at"), F("at")))
    return _histogram("autopack_apply_duration_seconds", rows.values("seconds", "outcome"), ("outcome",))


def _tokens(window: Window) -> Iterable[Cell]:
    """Yield spent, returned and unknown tokens. Each of them only grows, as counters must."""
    rows = _spent(window).annotate(
        first=Min("at"),
        spent=Sum("tokens", filter=Q(tokens__gt=0), default=0),
        returned=Sum("tokens", filter=Q(tokens__lt=0), default=0),
        unknown=Count("pk", filter=Q(tokens=None)),
    )
    for row in rows.order_by("first"):
        labels = (row["run__project__project_id"], row["attempt__agent"] or NOBODY)
        # written at 0 too: it is where an agent is first seen
        yield Cell(Key("autopack_tokens_total", labels), 0, float(row["spent"]))
        if row["returned"]:
            yield Cell(Key("autopack_tokens_returned_total", labels), 0, -float(row["returned"]))
        if row["unknown"]:
            yield Cell(Key("autopack_usage_unknown_total", labels), 0, float(row["unknown"]))


def _costs(window: Window) -> Iterable[Cell]:
    """Yield dollars, as the ledger's lines book them: the higher of what was said and what the price table says."""
    rows = _spent(window).filter(micro_usd__gt=0)
    for row in rows.annotate(first=Min("at"), money=Sum("micro_usd")).order_by("first"):
        labels = (row["run__project__project_id"], row["attempt__agent"] or NOBODY)
        yield Cell(Key("autopack_cost_usd_total", labels), 0, row["money"] / MICRO)


def _spent(window: Window) -> Any:
    rows = TokenEntry.objects.spent().filter(_within("at", window)).order_by()
    return rows.values("run__project__project_id", "attempt__agent")


def _expiries(window: Window) -> Iterable[Cell]:
    expired = Lease.objects.filter(_within("released_at", window), release_reason="expired")
    return _by_project("autopack_lease_expiries_total", expired, "released_at")


def _by_project(name: str, rows: QuerySet[Any], moment: str) -> Iterable[Cell]:
    counted = rows.order_by().values("run__project__project_id").annotate(first=Min(moment), rows=Count("pk"))
    for row in counted.order_by("first"):
        yield Cell(Key(name, (row["run__project__project_id"],)), 0, float(row["rows"]))
