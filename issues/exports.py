"""What an export reads, chunk by chunk: neither a million rows are held, nor a transaction for a slow reader."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Literal

from django.db.models import Q

from issues.exchange import CSV_TYPE, OF_ENTRY, OF_ISSUE, csv_chunks, entry_cells, issue_cells
from issues.junit_export import JUNIT_TYPE, entry_case, issue_case, junit_chunks
from issues.models import BacklogEntry, Issue
from issues.search import Wanted, entries
from runs.models import Phase

Form = Literal["csv", "junit"]
FORMS: tuple[Form, ...] = ("csv", "junit")
CONTENT_TYPES: dict[Form, str] = {"csv": CSV_TYPE, "junit": JUNIT_TYPE}
ENDINGS: dict[Form, str] = {"csv": "csv", "junit": "xml"}
CHUNK = 1000


def of_run(run_id: str, form: Form) -> Generator[bytes]:
    """Yield what a run's phases hold, phase by phase in key order."""
    chunks = _issues(run_id)
    if form == "csv":
        yield from csv_chunks(OF_ISSUE, (map(issue_cells, chunk) for chunk in chunks))
    else:
        yield from junit_chunks(map(issue_case, chunk) for chunk in chunks)


def of_backlog(project_pk: int, wanted: Wanted, form: Form) -> Generator[bytes]:
    """Yield the entries of a project's backlog that are wanted, the oldest first."""
    chunks = _entries(project_pk, wanted)
    if form == "csv":
        yield from csv_chunks(OF_ENTRY, (map(entry_cells, chunk) for chunk in chunks))
    else:
        yield from junit_chunks(map(entry_case, chunk) for chunk in chunks)


def _issues(run_id: str) -> Iterator[list[Issue]]:
    """Follow the index of the unique constraint: phase, then key."""
    phases = list(Phase.objects.filter(run=run_id).order_by("pk").values_list("pk", flat=True))
    rows = Issue.objects.filter(phase__in=phases).select_related("phase").order_by("phase_id", "issue_key")
    rows = rows.only(*(name for name in OF_ISSUE if "_id" not in name), "phase__phase_id", "phase__run_id")
    beyond = Q()
    while chunk := list(rows.filter(beyond)[:CHUNK]):
        yield chunk
        last = chunk[-1]
        beyond = Q(phase_id__gt=last.phase_id) | Q(phase_id=last.phase_id, issue_key__gt=last.issue_key)


def _entries(project_pk: int, wanted: Wanted) -> Iterator[list[BacklogEntry]]:
    rows, last = entries(project_pk, wanted).order_by("pk"), 0
    while chunk := list(rows.filter(pk__gt=last)[:CHUNK]):
        yield chunk
        last = chunk[-1].pk
