"""`builder_result`: judged and built within the request, booked whatever comes of it."""

from __future__ import annotations

import hashlib
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from autopack_site.kernel import clock
from runs import candidates, supervisor
from runs.models import Attempt, Lease, Outbox, Phase, Run, TokenEntry, Transition
from strategy.models import Project
from tests.fakes import DEADLINE_S, FakeGates, FakeLedger, FakeWorkspace
from tests.runs.api.conftest import Api, api_for, plan, problem_of, start
from tests.runs.api.test_claims import claim

pytestmark = pytest.mark.django_db
# The candidate is built in a thread of its own, which sees only what is committed. Other tests here are rolled
# back: there the build finds nothing, as when it is left to a worker.
committed = pytest.mark.django_db(transaction=True)
PATCH = "diff --git a/page.md b/page.md\n"
SHA = hashlib.sha1(PATCH.encode()).hexdigest()
URL = "/runs/r1/phases/p1/builder_result"


def result(**changes: Any) -> dict[str, Any]:
    body = {"phase_id": "p1", "run_id": "r1", "patch_content": PATCH, "status": "success", **changes}
    return {key: value for key, value in body.items() if value is not ...}


@committed
def test_a_result_without_a_lease_becomes_a_candidate(
    project: Project, operator: Api, builder: Api, gates: FakeGates
):
    start(operator)
    answer = builder.post(URL, result())
    assert answer.status_code == 200, answer.content
    assert answer.json() == {
        "message": "Builder result processed for phase p1",
        "commit_sha": SHA,
        "phase_state": "GATE",
    }
    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.agent, attempt.fence) == ("GATING", "builder", 1)
    assert bytes(attempt.patch) == PATCH.encode()
    assert gates.dispatched == [attempt.pk]


@committed
def test_a_result_under_a_lease_becomes_a_candidate(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder)
    answer = builder.post(URL, result(lease_id=lease["lease_id"], fence=lease["fence"]))
    assert (answer.status_code, answer.json()["commit_sha"]) == (200, SHA)
    assert Attempt.objects.get().pk == lease["attempt_id"]
    assert Lease.objects.get().release_reason == "submitted"


@committed
def test_a_refused_patch_is_422_with_its_code_and_counts_as_an_attempt(
    project: Project, operator: Api, builder: Api, workspace: FakeWorkspace
):
    start(operator)
    workspace.refuse("does-not-apply", "hunk 1 of page.md does not apply")
    body = problem_of(builder.post(URL, result()), 422, "does-not-apply")
    assert body["detail"] == [
        {
            "type": "does-not-apply",
            "loc": ["body", "patch_content"],
            "msg": "hunk 1 of page.md does not apply",
        }
    ]
    assert body["phase_state"] == "GATE", "an audit is next"
    assert body["type"] == "urn:autopack:problem:does-not-apply"
    assert Attempt.objects.get(kind="build").state == "REFUSED"
    assert Phase.objects.get().builder_attempts == 1


@committed
def test_a_slow_build_answers_with_the_true_state_and_goes_on(
    project: Project, operator: Api, builder: Api, workspace: FakeWorkspace, settings: Any
):
    settings.APPLY_LIMIT_S = 0.05
    workspace.gate = threading.Event()
    start(operator)
    answer = builder.post(URL, result())
    assert answer.status_code == 200
    assert (answer.json()["commit_sha"], answer.json()["phase_state"]) == (None, "EXECUTING")
    assert Outbox.objects.filter(topic="candidate.build").exists(), "a worker would do it, were this to die"
    workspace.gate.set()
    assert workspace.finished.acquire(timeout=DEADLINE_S)
    assert candidates.idle(DEADLINE_S)
    assert Attempt.objects.get().candidate_sha == SHA


def test_a_build_that_breaks_is_left_to_a_worker(
    project: Project, operator: Api, builder: Api, workspace: FakeWorkspace
):
    start(operator)
    workspace.error = RuntimeError("the disk is full")
    answer = builder.post(URL, result())
    assert (answer.status_code, answer.json()["commit_sha"]) == (200, None)
    assert Attempt.objects.get().state == "SUBMITTED"
    assert Outbox.objects.filter(topic="candidate.build").count() == 1


def test_with_no_thread_free_the_build_is_left_to_a_worker(
    project: Project,
    operator: Api,
    builder: Api,
    workspace: FakeWorkspace,
    monkeypatch: pytest.MonkeyPatch,
):
    start(operator)
    monkeypatch.setattr(candidates, "MAX_THREADS", 0)
    assert builder.post(URL, result()).json()["commit_sha"] is None
    assert workspace.built == []


@committed
def test_a_candidate_that_waits_for_an_audit_shows_no_commit(project: Project, operator: Api, builder: Api):
    body = plan()
    body["phases"][0].update(task_category="security_auth_change", complexity="high")
    start(operator, body)
    answer = builder.post(URL, result()).json()
    assert (answer["commit_sha"], answer["phase_state"]) == (None, "GATE")
    assert Attempt.objects.get().candidate_sha == SHA


def test_needs_review_waits_for_an_audit_too(project: Project, operator: Api, builder: Api):
    start(operator)
    assert builder.post(URL, result(status="needs_review")).json()["commit_sha"] is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"status": "failed"}, "builder-failed"), ({"patch_content": ""}, "empty-patch"),
     ({"patch_content": None}, "empty-patch"), ({"patch_content": ...}, "empty-patch")],
)  # fmt: skip
def test_a_builder_that_failed_is_heard(
    project: Project, operator: Api, builder: Api, changes: dict[str, Any], code: str
):
    start(operator)
    answer = builder.post(URL, result(**changes))
    assert answer.status_code == 200
    assert (answer.json()["commit_sha"], answer.json()["phase_state"]) == (None, "GATE"), "an audit is next"
    assert Attempt.objects.get(kind="build").failure_code == code


@pytest.mark.parametrize(
    ("changes", "tokens", "source"),
    [
        ({}, None, "unknown"),
        ({"tokens_used": 0}, 0, "reported"),
        ({"tokens_used": 700}, 700, "reported"),
        ({"tokens_used": None}, None, "unknown"),
        ({"usage": {}}, None, "unknown"),
        ({"usage": {"tokens": 5}, "tokens_used": 0}, 5, "reported"),
        ({"usage": {"input_tokens": 5, "output_tokens": 6, "model": "m"}}, 11, "reported"),
        ({"usage": {"model": "m"}, "tokens_used": 8}, 8, "reported"),
    ],
)
def test_usage_is_booked_as_reported_or_as_unknown(
    project: Project, operator: Api, builder: Api, changes: dict[str, Any], tokens: int | None, source: str
):
    start(operator)
    assert builder.post(URL, result(**changes)).status_code == 200
    attempt = Attempt.objects.get()
    assert (attempt.tokens_used, attempt.usage_source) == (tokens, source)
    settled = TokenEntry.objects.get(kind="settle")
    assert (settled.tokens, settled.usage_source) == (tokens, source)
    assert Run.objects.get().tokens_used == (tokens or 0)


def test_all_that_was_reported_is_kept(project: Project, operator: Api, builder: Api, ledger: FakeLedger):
    start(operator)
    answer = builder.post(
        URL,
        result(
            files_changed=["page.md"],
            lines_added=3,
            lines_removed=1,
            duration_minutes=1.5,
            notes="done",
            probe_results=[{"probe_type": "pytest", "exit_code": 0, "stdout": "3 passed"}],
            suggested_issues=[
                {"issue_key": "k1", "severity": "minor", "category": "style", "evidence_refs": ["page.md:1"]},
                {"issue_key": "k2", "severity": "major", "category": "bug", "source": "probe"},
            ],
        ),
    )
    assert answer.status_code == 200, answer.content
    attempt = Attempt.objects.get()
    assert attempt.notes == "done"
    assert attempt.report["files_changed"] == ["page.md"]
    assert attempt.report["probe_results"][0]["probe_type"] == "pytest"
    found = [(report.issue_key, report.source, report.evidence_refs) for _, report, _ in ledger.reports]
    assert found == [("k1", "cursor_self_doubt", ("page.md:1",)), ("k2", "probe", ())]


def test_an_absent_phase_is_not_found_in_the_contracts_words(project: Project, operator: Api, builder: Api):
    start(operator)
    for run_id, phase_id in (("r1", "p9"), ("r9", "p1")):
        body = result(run_id=run_id, phase_id=phase_id)
        answer = builder.post(f"/runs/{run_id}/phases/{phase_id}/builder_result", body)
        assert problem_of(answer, 404, "phase-not-found")["detail"] == f"Phase {phase_id} not found"


def test_another_agents_live_lease_is_a_conflict(project: Project, operator: Api, builder: Api):
    start(operator)
    claim(api_for("builder", name="holder"))
    body = problem_of(builder.post(URL, result()), 409, "lease-held")
    assert body["detail"] == "holder holds phase p1"


def test_another_agents_lease_is_not_there_to_submit_under(project: Project, operator: Api, builder: Api):
    start(operator, plan(phases=2))
    lease = claim(api_for("builder", name="holder"))
    body = result(lease_id=lease["lease_id"], fence=lease["fence"])
    problem_of(builder.post(URL, body), 404, "lease-not-found")
    own = claim(builder)  # of p2: no lease on p1
    body = result(lease_id=own["lease_id"], fence=own["fence"])
    problem_of(builder.post(URL, body), 404, "lease-not-found")
    assert Attempt.objects.filter(state="RUNNING").count() == 2


def test_a_stale_fence_is_a_conflict_but_its_usage_is_booked(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
):
    start(operator)
    lease = claim(builder)
    past = clock.database_now() - timedelta(seconds=1)
    Lease.objects.update(expires_at=past)
    body = result(
        lease_id=lease["lease_id"],
        fence=lease["fence"],
        tokens_used=77,
        suggested_issues=[{"issue_key": "late", "severity": "minor", "category": "x"}],
    )
    problem_of(builder.post(URL, body), 409, "stale-lease")
    attempt = Attempt.objects.get(pk=lease["attempt_id"])
    assert attempt.state == "LOST"
    assert bytes(attempt.patch) == b""
    assert [report.issue_key for _, report, _ in ledger.reports] == ["late"]
    assert Transition.objects.filter(event="late_result").count() == 1


def test_an_ended_run_takes_no_patch_but_the_issues(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
):
    start(operator)
    operator.post("/runs/r1/cancel", {})
    body = result(suggested_issues=[{"issue_key": "late", "severity": "minor", "category": "x"}])
    problem_of(builder.post(URL, body), 409, "phase-not-ready")
    assert [report.issue_key for _, report, _ in ledger.reports] == ["late"]


@committed
def test_a_build_is_not_taken_under_an_audits_lease(project: Project, operator: Api, gates: FakeGates):
    both = api_for("builder", "auditor", name="both")
    start(operator)
    both.post(URL, result(status="needs_review"))
    gates.finish(Attempt.objects.get().pk)
    lease = claim(both, kind="audit")
    body = result(lease_id=lease["lease_id"], fence=lease["fence"])
    problem_of(both.post(URL, body), 409, "no-build")


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"run_id": "other"}, ["body", "run_id"]),
        ({"phase_id": "other"}, ["body", "phase_id"]),
        ({"status": ...}, ["body", "status"]),
        ({"status": ""}, ["body", "status"]),
        ({"lease_id": "x"}, ["body", "fence"]),
        ({"fence": 1}, ["body", "fence"]),
        ({"tokens_used": -1}, ["body", "tokens_used"]),
        ({"tokens_used": 10**30}, ["body", "tokens_used"]),
        ({"usage": {"tokens": -5}}, ["body", "usage", "tokens"]),
        ({"usage": "all"}, ["body", "usage"]),
        ({"duration_minutes": "inf"}, ["body", "duration_minutes"]),
        ({"patch_content": 5}, ["body", "patch_content"]),
        ({"patch_content": ["x"]}, ["body", "patch_content"]),
        ({"files_changed": ["x"] * 10_001}, ["body", "files_changed"]),
        ({"files_changed": [{}]}, ["body", "files_changed", 0]),
        ({"suggested_issues": [None]}, ["body", "suggested_issues", 0]),
        ({"suggested_issues": [{"issue_key": "k"}]}, ["body", "suggested_issues", 0, "severity"]),
        (
            {"suggested_issues": [{"issue_key": "k", "severity": "huge", "category": "c"}]},
            ["body", "suggested_issues", 0, "severity"],
        ),
        ({"probe_results": [{"probe_type": "x"}]}, ["body", "probe_results", 0, "exit_code"]),
        ({"probe_results": [{"probe_type": "x", "exit_code": 1}] * 201}, ["body", "probe_results"]),
    ],
)
def test_a_faulty_result_says_where_and_changes_nothing(
    project: Project, operator: Api, builder: Api, changes: dict[str, Any], loc: list[Any]
):
    start(operator)
    found = problem_of(builder.post(URL, result(**changes)), 422, "invalid")["detail"]
    assert loc in [row["loc"][: len(loc)] for row in found], found
    assert not Attempt.objects.exists()


def test_a_patch_over_the_limit_has_its_own_code(
    project: Project, operator: Api, builder: Api, settings: Any
):
    settings.MAX_PATCH_BYTES = 100
    start(operator)
    body = problem_of(builder.post(URL, result(patch_content="é" * 51)), 422, "patch-too-large")
    assert body["detail"][0]["loc"] == ["body", "patch_content"]
    assert body["detail"][0]["msg"] == "102 bytes; 100 are allowed"
    assert not Attempt.objects.exists()


def test_only_builders_submit(project: Project, operator: Api, auditor: Api):
    start(operator)
    problem_of(auditor.post(URL, result()), 403, "role-missing")


@committed
def test_a_result_that_names_no_lease_is_taken_under_the_agents_own(
    project: Project, operator: Api, builder: Api
):
    start(operator)
    lease = claim(builder)
    assert builder.post(URL, result()).status_code == 200
    assert Attempt.objects.get().pk == lease["attempt_id"]
    assert Lease.objects.get().release_reason == "submitted"


def test_a_result_under_an_own_lease_that_ran_out_is_stale_and_its_usage_booked(
    project: Project, operator: Api, builder: Api
):
    start(operator)
    claim(builder)
    Lease.objects.update(expires_at=clock.database_now() - timedelta(seconds=1))
    problem_of(builder.post(URL, result(tokens_used=5)), 409, "stale-lease")
    assert Run.objects.get().tokens_used == 5


@committed
def test_a_result_that_comes_before_its_turn_waits_for_it(
    project: Project, operator: Api, builder: Api, monkeypatch: pytest.MonkeyPatch
):
    operator.post("/runs/start", plan())
    monkeypatch.setattr(time, "sleep", lambda _s: supervisor.step("r1"))
    assert builder.post(URL, result()).status_code == 200


@pytest.mark.parametrize("setting", ["APPLY_LIMIT_S", "MAX_WAITERS"])
def test_a_turn_that_does_not_come_in_time_or_without_a_place_is_a_conflict(
    project: Project, operator: Api, builder: Api, settings: Any, setting: str
):
    setattr(settings, setting, 0)
    operator.post("/runs/start", plan())
    problem_of(builder.post(URL, result()), 409, "phase-not-ready")
