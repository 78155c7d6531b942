"""The charts of one run: tokens, gates and issues over its time. Each is one query that the database sums up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from django.db.models import Count, Q, Sum

from integration.console import charts
from integration.console.charts import Chart
from integration.console.sums import Bucket
from integration.models import GateRun
from issues.models import Issue
from runs.models import Run, TokenEntry

SLICES = 40
GATES_SHOWN = 60
_STEPS_S = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


def of_run(run: Run, now: datetime) -> tuple[Chart, ...]:
    """Return the run's charts: three queries."""
    origin = run.started_at or run.created_at
    lasted_s = max(((run.completed_at or now) - origin).total_seconds(), 1.0)
    width_s = next((step for step in _STEPS_S if lasted_s / step <= SLICES), int(lasted_s / SLICES) + 1)
    count = int(lasted_s // width_s) + 1
    labels = [_clock(origin, number * width_s, lasted_s) for number in range(count)]
    bucket = {"origin": origin, "width_s": width_s}
    return (_tokens(run, labels, bucket), _gates(run), _issues(run, labels, bucket))


def _tokens(run: Run, labels: list[str], bucket: dict[str, Any]) -> Chart:
    rows = (
        TokenEntry.objects.filter(run=run, kind__in=["settle", "adjust"], tokens__isnull=False)
        .order_by()
        .annotate(slice=Bucket("at", **bucket))
        .values_list("slice", "envelope")
        .annotate(total=Sum("tokens"))
    )
    series = [
        (
            name,
            list(
                accumulate(
                    _spread(((slice, total) for slice, kind, total in rows if kind == key), len(labels))
                )
            ),
        )
        for key, name in (("build", "builders"), ("audit", "auditors"))
    ]
    note = "Booked so far, " + ("unlimited" if run.token_cap is None else f"of {run.token_cap:,}")
    if not any(values[-1] for _, values in series):
        return _empty("Tokens", note)
    return charts.line("Tokens", labels, series, note=note)


def _gates(run: Run) -> Chart:
    rows = (
        GateRun.objects.filter(run=run, started_at__isnull=False, ended_at__isnull=False)
        .order_by("-created_at", "-id")
        .values_list("phase__phase_id", "attempt__number", "verdict", "started_at", "ended_at")[:GATES_SHOWN]
    )
    found = list(rows)[::-1]
    note = f"Seconds from start to verdict, the last {GATES_SHOWN} at most"
    passing = [verdict in GateRun.PASSING for _, _, verdict, _, _ in found]
    lasted = [
        round((ended - started).total_seconds(), 1) if started and ended else 0.0
        for *_, started, ended in found
    ]
    return charts.bars(
        "Gate duration",
        [f"{phase} #{number}" for phase, number, *_ in found],
        [
            ("passed", [value if ok else 0.0 for value, ok in zip(lasted, passing, strict=True)]),
            ("not passed", [0.0 if ok else value for value, ok in zip(lasted, passing, strict=True)]),
        ],
        note=note,
        unit=" s",
    )


def _issues(run: Run, labels: list[str], bucket: dict[str, Any]) -> Chart:
    rows = list(
        Issue.objects.counted()
        .filter(phase__run=run)
        .order_by()
        .annotate(slice=Bucket("first_seen_at", **bucket))
        .values_list("slice")
        .annotate(
            minor=Count("pk", filter=Q(effective_severity="minor")),
            major=Count("pk", filter=Q(effective_severity="major")),
        )
    )
    note = "When a phase first saw them"
    if not rows:
        return _empty("Issues", note)
    series = [
        ("minor", _spread(((slice, minor) for slice, minor, _ in rows), len(labels))),
        ("major", _spread(((slice, major) for slice, _, major in rows), len(labels))),
    ]
    return charts.bars("Issues", labels, series, note=note)


def _spread(rows: Iterable[tuple[int, int]], count: int) -> list[float]:
    """Return a value a slice; what lies before the first or after the last counts there."""
    values = [0.0] * count
    for number, value in rows:
        values[min(max(number, 0), count - 1)] += value
    return values


def _empty(title: str, note: str) -> Chart:
    return Chart(title=title, note=note, head=(), table=())


def _clock(origin: datetime, after_s: int, lasted_s: float) -> str:
    moment = origin + timedelta(seconds=after_s)
    if lasted_s > 86_400:
        return f"{moment:%m-%d %H:%M}"
    return f"{moment:%H:%M:%S}" if lasted_s < 600 else f"{moment:%H:%M}"
