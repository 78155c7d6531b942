"""API.md's file shapes, from rows: what the routes answer and the artefacts hold, byte for byte the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db.models.functions import Collate

from autopack_site.kernel import clock
from issues.models import BacklogEntry, Issue, RunIndexEntry
from runs.models import Phase, Run
from strategy.models import Project

Shape = dict[str, Any]
_BACKLOG_COLUMNS = (
    "issue_key", "category", "base_severity", "age_in_runs", "age_in_tiers", "first_seen_run_id", "last_seen_run_id",
    "last_seen_at", "seen_in_tiers", "status",
)  # fmt: skip


def phase_file(phase: Phase) -> Shape:
    """Return the phase's issue file; `phase.tier` should be loaded. One query."""
    return phase_file_shape(phase, Issue.objects.filter(phase=phase).order_by("issue_key"))


def run_index(run: Run) -> Shape:
    """Return the run's issue index, by key in key order. One query."""
    rows = RunIndexEntry.objects.filter(run=run).order_by("issue_key")
    return {
        "run_id": run.run_id,
        "issues_by_key": {row.issue_key: index_entry_shape(row) for row in rows.iterator(chunk_size=5000)},
    }


def backlog_in_key_order(project: Project, size: int = 1000) -> Iterator[dict[str, Shape]]:
    """Return the project's whole backlog, resolved entries too, a page of entries by key after the other.

    The order is that of the keys' code points, whatever the database's own is. One query, held open.
    """
    rows = BacklogEntry.objects.filter(project=project).order_by(Collate("issue_key", "C"))
    found = rows.values_list(*_BACKLOG_COLUMNS, named=True).iterator(chunk_size=size)
    while page := {row.issue_key: backlog_entry_shape(row) for row in islice(found, size)}:
        yield page


def backlog_pages(project: Project, size: int) -> Iterator[list[tuple[str, Shape]]]:
    """Return the same entries a page after the other, in the same order, each page by a query of its own.

    What is recorded between two pages stands on the later one or on none.
    """
    rows = BacklogEntry.objects.filter(project=project).order_by("issue_key")
    rows = rows.values_list(*_BACKLOG_COLUMNS, named=True)
    last: str | None = None
    while True:
        page = list((rows if last is None else rows.filter(issue_key__gt=last))[:size])
        yield [(row.issue_key, backlog_entry_shape(row)) for row in page]
        if len(page) < size:
            return
        last = page[-1].issue_key


def phase_file_shape(phase: Phase, issues: Iterable[Issue]) -> Shape:
    """Return a phase file with these issues and the counts of the whole phase."""
    return {
        "phase_id": phase.phase_id,
        "tier_id": phase.tier.tier_id,
        "issues": [issue_shape(issue) for issue in issues],
        "minor_issue_count": phase.minor_issues_count,
        "major_issue_count": phase.major_issues_count,
        "issue_state": issue_state(phase),
    }


def issue_state(phase: Phase) -> str:
    """Return `no_issues`, `has_minor_issues` or `has_major_issues`."""
    if phase.major_issues_count:
        return "has_major_issues"
    return "has_minor_issues" if phase.minor_issues_count else "no_issues"


def issue_shape(issue: Issue) -> Shape:
    """Return one issue of a phase file."""
    return {
        "issue_key": issue.issue_key,
        "severity": issue.severity,
        "effective_severity": issue.effective_severity,
        "source": issue.source,
        "category": issue.category,
        "task_category": issue.task_category,
        "complexity": issue.complexity,
        "expected_fail": issue.expected_fail,
        "occurrence_count": issue.occurrence_count,
        "first_seen_run": issue.first_seen_run,
        "last_seen_run": issue.last_seen_run,
        "evidence_refs": issue.evidence_refs,
    }


def index_entry_shape(entry: RunIndexEntry) -> Shape:
    """Return one entry of a run index."""
    return {
        "category": entry.category,
        "severity": entry.severity,
        "effective_severity": entry.effective_severity,
        "first_phase_index": entry.first_phase_index,
        "last_phase_index": entry.last_phase_index,
        "occurrence_count": entry.occurrence_count,
        "seen_in_tiers": entry.seen_in_tiers,
        "seen_in_phases": entry.seen_in_phases,
    }


def backlog_entry_shape(entry: BacklogEntry) -> Shape:
    """Return one entry of a backlog."""
    return {
        "category": entry.category,
        "base_severity": entry.base_severity,
        "age_in_runs": entry.age_in_runs,
        "age_in_tiers": entry.age_in_tiers,
        "first_seen_run_id": entry.first_seen_run_id,
        "last_seen_run_id": entry.last_seen_run_id,
        "last_seen_at": clock.stamp(entry.last_seen_at),
        "seen_in_tiers": entry.seen_in_tiers,
        "status": str(entry.status),
    }
