"""`GET /audits`: what an auditor may claim now."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.judgement import open_audit
from runs.models import Attempt, Run
from tests.factories import make_project, make_run
from tests.runs.api.conftest import Api, api_for, problem_of

pytestmark = pytest.mark.django_db


def audit(run: Run, phase_id: str = "P1") -> Attempt:
    return open_audit(run.phases.get(phase_id=phase_id), None, "approval", profile="docs_review")


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["audit_id"] for row in answer.json()["audits"]]


def test_an_open_audit_is_shown_with_what_a_claim_needs(auditor: Api):
    run = make_run()
    made = audit(run)
    [row] = auditor.get("/audits").json()["audits"]
    assert row.pop("created_at").endswith("Z")
    assert row == {
        "audit_id": made.pk,
        "project_id": run.project.project_id,
        "run_id": run.pk,
        "phase_id": "P1",
        "phase_name": "Phase P1",
        "task_category": made.phase.task_category,
        "complexity": made.phase.complexity,
        "number": 1,
        "purpose": "approval",
        "profile": "docs_review",
        "attempt_id": None,
        "patch_hash": "",
        "claim_deadline_at": None,
    }


def test_the_longest_waiting_comes_first_and_pages_hold_each_once(auditor: Api):
    run = make_run(phases_per_tier=3)
    made = [audit(run, f"P{number}").pk for number in (2, 3, 1)]
    first = auditor.get("/audits?limit=2")
    assert ids(first) == made[:2]
    assert ids(auditor.get(f"/audits?limit=2&cursor={first.json()['next_cursor']}")) == made[2:]


def test_audits_that_nobody_can_claim_are_left_out(auditor: Api):
    run = make_run(phases_per_tier=3)
    Attempt.objects.filter(pk=audit(run, "P1").pk).update(state="RUNNING")
    over = make_run()
    audit(over)
    Run.objects.filter(pk=over.pk).update(state="DONE_CANCELLED", completed_at=over.created_at)
    assert ids(auditor.get("/audits")) == []


def test_audits_are_narrowed_to_a_run_or_a_project(auditor: Api):
    here, there = make_run(), make_run(make_project("there"))
    mine, other = audit(here).pk, audit(there).pk
    assert ids(auditor.get(f"/audits?run_id={here.pk}")) == [mine]
    assert ids(auditor.get("/audits?project_id=there")) == [other]
    scoped = api_for("auditor", project=here.project)
    assert ids(scoped.get("/audits")) == [mine]
    assert ids(scoped.get("/audits?project_id=there")) == []


def test_builders_see_none(builder: Api):
    problem_of(builder.get("/audits"), 403, "role-missing")


def test_the_list_takes_the_same_number_of_queries_at_any_size(auditor: Api):
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert auditor.get("/audits").status_code == 200
        return len(captured)

    run = make_run(phases_per_tier=6)
    audit(run)
    cost()
    few = cost()
    for number in range(2, 7):
        audit(run, f"P{number}")
    assert cost() == few == 2, "token, audits"
