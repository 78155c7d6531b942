"""The figures of the reports that count issues (API.md), in the contract's shapes."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from issues.aging import Status
from issues.models import BacklogEntry, RunIndexEntry
from issues.querysets import BacklogEntryQuerySet
from issues.shapes import backlog_entry_shape
from runs.models import Phase, Run, Tier
from runs.reports import run_figures
from strategy.models import Project

Shape = dict[str, Any]
TOP_AGING = 10
MAX_CLEANUP = 1000


def backlog_summary(project: Project) -> Shape:
    """Return /reports/issue_backlog_summary of a project. Three queries."""
    entries = BacklogEntry.objects.filter(project=project)
    by_status = entries.order_by().values_list("status").annotate(entries=Count("pk"))
    counts = {str(status): 0 for status in Status} | {str(status): n for status, n in by_status}
    return {
        "total_issues": sum(counts.values()),
        "open_count": counts[Status.OPEN] + counts[Status.REOPENED],
        "needs_cleanup_count": counts[Status.NEEDS_CLEANUP],
        "resolved_count": counts[Status.RESOLVED],
        "top_aging_issues": _first(entries.oldest(), TOP_AGING),
        "needs_cleanup": _first(entries.oldest().filter(status=Status.NEEDS_CLEANUP), MAX_CLEANUP),
    }


def _first(entries: BacklogEntryQuerySet, limit: int) -> list[list[Any]]:
    rows = entries.defer("paths", "scopes", "seen_in_runs")[:limit]
    return [[entry.issue_key, backlog_entry_shape(entry)] for entry in rows]


def run_summary(run: Run) -> Shape:
    """Return /reports/run_summary of a run. Three queries."""
    phases = Phase.objects.filter(run=run).defer("description", "limits", "scope", "notes", "audit_request")
    return run_figures(
        run,
        list(Tier.objects.filter(run=run).defer("description")),
        list(phases),
        distinct_issues=RunIndexEntry.objects.filter(run=run).count(),
    )
