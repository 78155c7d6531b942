"""Tokens, gates and issues over days: sums that the database makes, over the runs of a span of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import TruncDay

from autopack_site.kernel import clock
from integration.console import charts
from integration.console.board import FAILED_RUN_STATES
from integration.console.charts import Chart
from integration.console.sums import Percentile, Seconds
from integration.models import GateRun
from runs.lifecycle import RunState
from runs.models import Run
from runs.querysets import RunQuerySet

SPANS = (7, 30, 90)


@dataclass(frozen=True)
class Trends:
    """The charts of the last `days` days, today included; `project` "" is all of them."""

    days: int
    project: str
    charts: tuple[Chart, ...]


def load(query: Mapping[str, str]) -> Trends:
    """Read the charts: two queries, whatever there is."""
    wanted = query.get("days", "")
    days = next((span for span in SPANS if str(span) == wanted), 30)
    project = query.get("project", "").replace("\x00", "")[:128]
    today = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    runs: RunQuerySet = Run.objects.filter(created_at__gte=since)
    gates = GateRun.objects.filter(
        run__created_at__gte=since, started_at__isnull=False, ended_at__isnull=False
    )
    if project:
        runs = runs.filter(project__project_id=project)
        gates = gates.filter(run__project__project_id=project)
    by_day = _by_day(
        runs.order_by()
        .values(day=TruncDay("created_at"))
        .annotate(
            tokens=Sum("tokens_used"),
            minor=Sum("minor_issues_count"),
            major=Sum("major_issues_count"),
            succeeded=Count("pk", filter=Q(state=RunState.DONE_SUCCESS)),
            failed=Count("pk", filter=Q(state__in=FAILED_RUN_STATES)),
            other=Count("pk", filter=~Q(state__in=[RunState.DONE_SUCCESS, *FAILED_RUN_STATES])),
        )
    )
    lasted = Seconds(F("ended_at") - F("started_at"))
    gate_days = _by_day(
        gates.order_by()
        .values(day=TruncDay("created_at"))
        .annotate(median=Percentile(lasted, share=0.5), most=Percentile(lasted, share=0.95))
    )
    labels = [since.date() + timedelta(days=number) for number in range(days)]
    of_runs = "Of the runs that were started on the day"
    return Trends(
        days,
        project,
        (
            _bars(
                "Runs",
                labels,
                by_day,
                {"succeeded": "succeeded", "failed": "failed", "other": "others"},
                of_runs,
            ),
            _bars("Tokens", labels, by_day, {"tokens": "tokens"}, of_runs),
            _lines(labels, gate_days),
            _bars(
                "Issues",
                labels,
                by_day,
                {"minor": "minor", "major": "major"},
                f"{of_runs}; distinct keys a run",
            ),
        ),
    )


def _by_day(rows: Any) -> dict[date, dict[str, Any]]:
    found = {}
    for row in rows:
        day: datetime = row["day"]
        found[day.date()] = row
    return found


def _bars(
    title: str, days: list[date], rows: dict[date, dict[str, Any]], names: dict[str, str], note: str
) -> Chart:
    series = [(name, [float(rows.get(day, {}).get(key) or 0) for day in days]) for key, name in names.items()]
    if not rows:
        return Chart(title=title, note=note, head=(), table=())
    return charts.bars(title, [f"{day:%m-%d}" for day in days], series, note=note)


def _lines(days: list[date], rows: dict[date, dict[str, Any]]) -> Chart:
    note = "Seconds from start to verdict, on days with gates: the median, and what 95 of 100 stay below"
    days = [day for day in days if day in rows]
    if not days:
        return Chart(title="Gate duration", note=note, head=(), table=())
    series = [
        (name, [round(rows[day][key], 1) for day in days])
        for key, name in (("median", "median"), ("most", "95 of 100"))
    ]
    return charts.line("Gate duration", [f"{day:%m-%d}" for day in days], series, note=note, unit=" s")
