"""Clients and rows for the tests of the issue routes."""

from __future__ import annotations

from typing import Any

from rest_framework.test import APIClient

from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry
from runs.models import Run
from runs.tokens import create_token
from strategy.models import Project
from tests.issues.reports import report

FORM = {"issue_key": "k1", "severity": "minor", "source": "probe", "category": "test_failure"}


def client(*roles: str, project: Project | None = None, name: str = "agent") -> APIClient:
    """A client with a token of its own, whose use is written down already."""
    http = APIClient()
    value = create_token(name, roles=roles or ("builder",), project=project)
    http.credentials(HTTP_AUTHORIZATION=f"Bearer {value}")
    http.get("/runs/none/issues/index")
    return http


def phase_path(run: Run, action: str, phase_id: str = "P1") -> str:
    """A route of a phase."""
    return f"/runs/{run.run_id}/phases/{phase_id}/{action}"


def saw(run: Run, *keys: str, phase_id: str = "P1", reporter: str = "b", **fields: Any) -> None:
    """Record a report for each key."""
    reports = [report(key, **fields) for key in keys]
    DatabaseLedger().record(run.phases.get(phase_id=phase_id).pk, reports, reporter=reporter)


def entry_of(key: str, project: Project | None = None) -> BacklogEntry:
    """The entry of a key."""
    rows = BacklogEntry.objects.filter(issue_key=key)
    return (rows if project is None else rows.filter(project=project)).get()
