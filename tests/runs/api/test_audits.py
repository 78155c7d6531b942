"""`auditor_request` and `auditor_result`: the fixed shapes, and what a verdict does."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs import services, waiting
from runs.models import Attempt, Outbox, Phase, Run
from strategy.models import Project
from tests.fakes import FakeGates, FakeLedger, FakeWorkspace
from tests.runs.api.conftest import Api, api_for, plan, problem_of, start
from tests.runs.api.test_claims import claim

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)
PHASE = "/runs/r1/phases/p1"
PATCH = "diff --git a/page.md b/page.md\n"
OWN_PATCH = "diff --git a/other.md b/other.md\n"


def verdict(recommendation: str = "approve", **changes: Any) -> dict[str, Any]:
    body = {
        "phase_id": "p1",
        "run_id": "r1",
        "review_notes": "read it",
        "recommendation": recommendation,
        **changes,
    }
    return {key: value for key, value in body.items() if value is not ...}


@pytest.fixture
def green(project: Project, operator: Api, builder: Api, gates: FakeGates) -> str:
    """The id of a green candidate that waits for an audit."""
    start(operator)
    body = {"patch_content": PATCH, "status": "needs_review"}
    assert builder.post(f"{PHASE}/builder_result", body).status_code == 200
    attempt_id = Attempt.objects.get().pk
    gates.finish(attempt_id)
    return str(attempt_id)


def test_a_request_with_an_empty_body_asks_for_a_general_audit(project: Project, operator: Api, auditor: Api):
    start(operator)
    answer = auditor.post(f"{PHASE}/auditor_request")
    assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "message": "Auditor review requested for phase p1",
        "review_focus": "general",
        "auditor_profile": "general_review",
    }
    request = Phase.objects.get().audit_request
    assert request == {"focus": "general", "profile": "general_review", "context": None, "by": "auditor"}


def test_a_request_says_its_focus_and_profile(project: Project, operator: Api, auditor: Api):
    start(operator)
    body = {
        "phase_id": "p1",
        "run_id": "r1",
        "tier_id": "t1",
        "builder_result": {"status": "failed"},
        "failure_context": "three red gates",
        "review_focus": "security",
        "auditor_profile": "orchestrator_review",
    }
    answer = auditor.post(f"{PHASE}/auditor_request", body).json()
    assert (answer["review_focus"], answer["auditor_profile"]) == ("security", "refactor_review")
    assert (Phase.objects.get().audit_request or {})["context"] == "three red gates"


def test_the_strategys_profile_is_taken_where_none_is_asked_for(
    project: Project, operator: Api, auditor: Api
):
    body = plan()
    body["phases"][0]["task_category"] = "schema_change"
    start(operator, body)
    assert auditor.post(f"{PHASE}/auditor_request", {}).json()["auditor_profile"] == "schema_review"


@pytest.mark.parametrize("route", ["auditor_request", "auditor_result"])
def test_an_absent_phase_is_not_found_in_the_contracts_words(
    project: Project, operator: Api, auditor: Api, route: str
):
    start(operator)
    body = verdict(phase_id=..., run_id=...)
    for path, phase_id in (("/runs/r1/phases/p9", "p9"), ("/runs/r9/phases/p1", "p1")):
        answer = auditor.post(f"{path}/{route}", body)
        assert problem_of(answer, 404, "phase-not-found")["detail"] == f"Phase {phase_id} not found"


@pytest.mark.parametrize("route", ["auditor_request", "auditor_result"])
def test_builders_do_not_audit(project: Project, operator: Api, builder: Api, route: str):
    start(operator)
    problem_of(builder.post(f"{PHASE}/{route}", verdict()), 403, "role-missing")


@committed
def test_an_approval_lets_the_candidate_go_on(green: str, auditor: Api):
    lease = claim(auditor, kind="audit")
    assert lease["brief"]["target"]["attempt_id"] == green
    body = verdict(lease_id=lease["lease_id"], fence=lease["fence"], tokens_used=9, confidence="high")
    answer = auditor.post(f"{PHASE}/auditor_result", body)
    assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "message": "Auditor result processed for phase p1",
        "recommendation": "approve",
        "patches_applied": 0,
        "commit_shas": [],
        "phase_state": "GATE",
        "refusals": [],
    }
    audit = Attempt.objects.get(kind="audit")
    assert (audit.verdict, audit.tokens_used, audit.report["confidence"]) == ("approve", 9, "high")
    assert Outbox.objects.filter(topic="candidate.merge", key=green).exists()


@committed
def test_a_verdict_without_a_lease_decides_the_open_audit(green: str, auditor: Api, ledger: FakeLedger):
    found = [{"issue_key": "k", "severity": "minor", "category": "style"}]
    answer = auditor.post(f"{PHASE}/auditor_result", verdict(issues_found=found))
    assert answer.status_code == 200
    assert Attempt.objects.get(kind="audit").state == "DECIDED"
    assert [(report.issue_key, report.source) for _, report, _ in ledger.reports] == [("k", "auditor")]


@committed
def test_a_revision_brings_the_notes_into_the_next_brief(green: str, auditor: Api, builder: Api):
    answer = auditor.post(f"{PHASE}/auditor_result", verdict("revise", review_notes="add a test"))
    assert answer.json()["phase_state"] == "QUEUED"
    assert claim(builder)["brief"]["notes"] == "add a test"


@committed
def test_an_escalation_fails_the_phase_and_the_run(green: str, auditor: Api, operator: Api):
    answer = auditor.post(f"{PHASE}/auditor_result", verdict("escalate"))
    assert answer.json()["phase_state"] == "FAILED"
    assert operator.get("/runs/r1").json()["state"] == "DONE_FAILED_REQUIRES_HUMAN_REVIEW"


@committed
def test_a_suggested_patch_becomes_a_candidate(green: str, auditor: Api):
    patches = [{"description": "fix", "patch_content": OWN_PATCH, "files_affected": ["other.md"]}]
    answer = auditor.post(f"{PHASE}/auditor_result", verdict("revise", suggested_patches=patches)).json()
    assert answer["commit_shas"] == [hashlib.sha1(OWN_PATCH.encode()).hexdigest()]
    assert (answer["patches_applied"], answer["refusals"]) == (1, [])


@committed
def test_a_refused_patch_of_an_auditor_does_not_undo_its_verdict(
    green: str, auditor: Api, workspace: FakeWorkspace
):
    workspace.refuse("path-out-of-scope", "other.md is out of scope", is_policy=True)
    patches = [{"description": "fix", "patch_content": OWN_PATCH}]
    answer = auditor.post(f"{PHASE}/auditor_result", verdict("revise", suggested_patches=patches))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["patches_applied"], body["commit_shas"]) == (0, [])
    assert body["refusals"] == [{"code": "path-out-of-scope", "reason": "other.md is out of scope"}]
    assert Attempt.objects.get(kind="audit").verdict == "revise"


@committed
def test_a_verdict_about_another_patch_is_a_conflict(green: str, auditor: Api):
    answer = auditor.post(f"{PHASE}/auditor_result", verdict(patch_hash="0" * 64))
    problem_of(answer, 409, "patch-changed")


@committed
def test_another_auditors_live_lease_is_a_conflict(green: str, auditor: Api, operator: Api):
    claim(auditor, kind="audit")
    problem_of(operator.post(f"{PHASE}/auditor_result", verdict()), 409, "lease-held")


def test_with_no_patch_there_is_nothing_to_judge(project: Project, operator: Api, auditor: Api):
    start(operator)
    problem_of(auditor.post(f"{PHASE}/auditor_result", verdict()), 409, "no-audit")


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"recommendation": "maybe"}, ["body", "recommendation"]),
        ({"recommendation": ...}, ["body", "recommendation"]),
        ({"review_notes": ...}, ["body", "review_notes"]),
        ({"run_id": "r2"}, ["body", "run_id"]),
        ({"phase_id": "p2"}, ["body", "phase_id"]),
        ({"lease_id": "x"}, ["body", "fence"]),
        ({"suggested_patches": [{"description": "x"}]}, ["body", "suggested_patches", 0, "patch_content"]),
        (
            {"suggested_patches": [{"description": "x", "patch_content": "y"}] * 21},
            ["body", "suggested_patches"],
        ),
        ({"issues_found": {"issue_key": "k"}}, ["body", "issues_found"]),
    ],
)
def test_a_faulty_verdict_says_where_and_changes_nothing(
    project: Project, operator: Api, auditor: Api, changes: dict[str, Any], loc: list[Any]
):
    start(operator)
    found = problem_of(auditor.post(f"{PHASE}/auditor_result", verdict(**changes)), 422, "invalid")["detail"]
    assert loc in [row["loc"][: len(loc)] for row in found], found
    assert not Attempt.objects.exists()


def test_a_suggested_patch_over_the_limit_has_its_own_code(
    project: Project, operator: Api, auditor: Api, settings: Any
):
    settings.MAX_PATCH_BYTES = 10
    start(operator)
    patches = [{"description": "x", "patch_content": "0123456789a"}]
    answer = auditor.post(f"{PHASE}/auditor_result", verdict("revise", suggested_patches=patches))
    body = problem_of(answer, 422, "patch-too-large")
    assert body["detail"][0]["loc"] == ["body", "suggested_patches", 0, "patch_content"]


@committed
def test_one_token_of_both_roles_can_not_approve_its_build_where_an_audit_is_required(
    project: Project, operator: Api, auditor: Api, gates: FakeGates
):
    body = plan()
    body["phases"][0]["task_category"] = "security_auth"
    start(operator, body)
    both = api_for("builder", "auditor", name="both")
    assert (
        both.post(f"{PHASE}/builder_result", {"patch_content": PATCH, "status": "success"}).status_code == 200
    )
    gates.finish(Attempt.objects.get().pk)
    problem_of(both.post(f"{PHASE}/auditor_result", verdict()), 409, "own-patch")
    problem_of(both.post("/runs/r1/claim", {"kind": "audit", "phase_id": "p1"}), 409, "own-patch")
    assert auditor.post(f"{PHASE}/auditor_result", verdict()).status_code == 200


@committed
def test_a_look_locks_no_run_whose_only_audits_are_of_the_agents_own_patches(
    project: Project, operator: Api, auditor: Api, gates: FakeGates, monkeypatch: pytest.MonkeyPatch
):
    both = api_for("builder", "auditor", name="both")
    for name in ("r1", "r2", "r3"):
        body = plan(name)
        body["phases"][0]["task_category"] = "security_auth"
        start(operator, body)
        patch = {"patch_content": PATCH, "status": "success"}
        assert both.post(f"/runs/{name}/phases/p1/builder_result", patch).status_code == 200
        gates.finish(Attempt.objects.get(run=name, kind="build").pk)
    asked: list[str] = []
    real = services.claim_phase

    def noted(run_id: str, **fields: Any) -> Any:
        asked.append(run_id)
        return real(run_id, **fields)

    monkeypatch.setattr(services, "claim_phase", noted)
    with CaptureQueriesContext(connection) as of_one:
        assert len(waiting.own_audits(Run.objects.filter(pk="r1"), "both")) == 1
    with CaptureQueriesContext(connection) as of_all:
        assert len(waiting.own_audits(Run.objects.all(), "both")) == 3
    assert len(of_one) == len(of_all) == 1
    assert both.post("/claim", {"kind": "audit"}).status_code == 204
    assert asked == []
    # a poll of one run asks as it comes, and does not lock the run again at each look
    monkeypatch.setattr(waiting, "INTERVAL_S", 0.01)
    assert both.post("/runs/r1/claim", {"kind": "audit", "wait_s": 0.1}).status_code == 204
    assert asked == ["r1"]
    assert auditor.post("/claim", {"kind": "audit"}).json()["run_id"] == "r1"
    assert asked == ["r1", "r1"]
