"""Reports and counts as the tests of issues say them."""

from __future__ import annotations

from runs.models import Phase, Run, Tier
from runs.ports import IssueReport


def report(key: str = "test:login", severity: str = "minor", **fields) -> IssueReport:
    """A report, minor and from a test unless said otherwise."""
    values = {"source": "test", "category": "test_failure", **fields}
    return IssueReport(key, severity, **values)


def counts(row: Phase | Tier | Run) -> tuple[int, int]:
    """(minor, major) as the database has them now."""
    row.refresh_from_db()
    return row.minor_issues_count, row.major_issues_count
