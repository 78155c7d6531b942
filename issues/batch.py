"""Many reports in one call: all of them are recorded, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from issues import services
from issues.known import IssueName
from issues.shapes import issue_state
from runs import rows
from runs.ports import IssueReport, Shared

MAX_REPORTS = 1000
MAX_IMPORTED = 5000
SHOWN_REFS = 20


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: how many reports, of how many distinct issues, and how its phase counts now."""

    reports: int
    issues: int
    minor_issue_count: int
    major_issue_count: int
    issue_state: str


def record_batch(phase_pk: int, reports: Sequence[IssueReport], *, reporter: str) -> list[Shared]:
    """Record up to 1,000 reports of a phase in one transaction, with as many statements as one report takes.

    What each touched is returned in their order, as it is after all of them. Of an issue's evidence the last 20
    pieces are shown: 1,000 issues with all that they may hold would make an answer of 100 megabytes.
    Raises PhaseNotFound.
    """
    return [_short(shared) for shared in services.record_reports(phase_pk, reports, reporter=reporter)]


def _short(shared: Shared) -> Shared:
    issues = [
        {**issue, "evidence_refs": issue["evidence_refs"][-SHOWN_REFS:]}
        for issue in shared.phase_file["issues"]
    ]
    return replace(shared, phase_file={**shared.phase_file, "issues": issues})


def import_reports(phase_pk: int, reports: Sequence[IssueReport], *, reporter: str) -> Imported:
    """Record what a file told of, 1,000 reports at a time in one transaction. Raises PhaseNotFound."""
    keys: set[str] = set()
    found = services.read(reports)  # all of it before the first part takes its locks
    with transaction.atomic():
        for start in range(0, len(found), MAX_REPORTS):
            part = found[start : start + MAX_REPORTS]
            for shared in services.record_read(phase_pk, part, reporter=reporter):
                keys.update(issue["issue_key"] for issue in shared.phase_file["issues"])
        phase = rows.phase_by_pk(phase_pk)[0]
        # a later part may have made issues of earlier ones one, or given them another key
        called = IssueName.objects.filter(project__runs__phases=phase_pk, kind=IssueName.KEY, name__in=keys)
        issues = called.order_by().values("issue_key").distinct().count()
    return Imported(
        reports=len(reports),
        issues=issues,
        minor_issue_count=phase.minor_issues_count,
        major_issue_count=phase.major_issues_count,
        issue_state=issue_state(phase),
    )
