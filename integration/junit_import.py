"""A JUnit report from elsewhere as issues of a phase: each failing case, as a gate would have recorded it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from autopack_site.kernel.visible import both_ends
from integration.junit import TestCase, TestReport, parse
from issues.batch import MAX_IMPORTED
from issues.evidence import MAX_REFS, joined
from issues.exchange import TooManyRows
from runs.models import Phase
from runs.ports import IssueReport

MAX_DESCRIPTION = 2000
_DIGEST_CHARS = 12


@dataclass(frozen=True, slots=True)
class Failures:
    """What a document tells of."""

    report: TestReport
    issues: tuple[IssueReport, ...]


def failures_of(data: bytes, phase: Phase) -> Failures:
    """Return one report for each failing test of a document, each test once.

    An export of Autopack's own says of its cases what JUnit has no place for: then that is taken, and skipped ones
    are the failures that were expected. Raises BadReport, ForbiddenXml, ReportTooLarge and TooManyRows.
    """
    report = parse(data)
    origin = f"junit:{hashlib.sha256(data).hexdigest()[:_DIGEST_CHARS]}"
    found: dict[str, IssueReport] = {}
    for case in report.cases:
        if case.status == "passed" or (case.status == "skipped" and not _own(case, "issue_key")):
            continue
        issue = _issue_of(case, phase, origin)
        found.setdefault(issue.issue_key, issue)
        if len(found) > MAX_IMPORTED:
            raise TooManyRows
    return Failures(report, tuple(found.values()))


def _issue_of(case: TestCase, phase: Phase, origin: str) -> IssueReport:
    refs = [value for name, value in case.properties if name == "evidence_ref"] or [case.file_named]
    return IssueReport(
        issue_key=_own(case, "issue_key") or case.identity,
        severity=_own(case, "severity") or "minor",
        source=_own(case, "source") or "test",
        category=_own(case, "category") or "test_failure",
        task_category=_own(case, "task_category") or phase.task_category,
        complexity=_own(case, "complexity") or phase.complexity,
        evidence_refs=tuple(joined(filter(None, refs), [origin], MAX_REFS)),
        description=both_ends(case.message, MAX_DESCRIPTION),
        expected_fail=case.status == "skipped",
    )


def _own(case: TestCase, name: str) -> str:
    return next((value for own, value in case.properties if own == name), "")
