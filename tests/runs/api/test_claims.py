"""Claim, heartbeat, release: leases over HTTP."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from runs import services, supervisor, waiting
from runs.errors import LostRace
from runs.judgement import open_audit
from runs.models import Attempt, Lease, Phase, Run
from strategy.models import Project
from tests.fakes import BASE_COMMIT
from tests.runs.api.conftest import Api, api_for, make_project, plan, problem_of, start

pytestmark = pytest.mark.django_db
DEADLINE_S = 20.0


def claim(api: Api, run_id: str = "r1", **body: Any) -> dict[str, Any]:
    answer = api.post(f"/runs/{run_id}/claim", {"kind": "build", **body})
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def end_lease(lease_id: str) -> None:
    Lease.objects.filter(pk=lease_id).update(expires_at=clock.database_now() - timedelta(seconds=1))


def test_a_claim_gives_a_lease_with_its_brief(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder, ttl_s=30)
    assert set(lease) == {
        "lease_id", "fence", "run_id", "phase_id", "kind", "attempt_id", "base_commit", "expires_at", "ttl_s",
        "brief",
    }  # fmt: skip
    assert (lease["run_id"], lease["phase_id"], lease["kind"], lease["fence"]) == ("r1", "p1", "build", 1)
    assert (lease["base_commit"], lease["ttl_s"]) == (BASE_COMMIT, 30.0)
    assert lease["expires_at"].endswith("Z")
    assert lease["brief"]["phase"]["description"] == "Write the page"
    row = Lease.objects.get(pk=lease["lease_id"])
    assert (row.owner, row.attempt_id) == ("builder", lease["attempt_id"])
    assert Phase.objects.get().state == "EXECUTING"


def test_phases_are_claimed_in_plan_order_and_then_there_is_nothing(
    project: Project, operator: Api, builder: Api
):
    start(operator, plan(phases=2))
    assert [claim(builder)["phase_id"], claim(builder)["phase_id"]] == ["p1", "p2"]
    answer = builder.post("/runs/r1/claim", {"kind": "build"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Retry-After" not in answer


def test_an_empty_body_claims_a_build(project: Project, operator: Api, builder: Api):
    start(operator)
    assert builder.post("/runs/r1/claim").json()["kind"] == "build"


def test_a_named_phase_is_claimed_or_refused_with_the_reason(project: Project, operator: Api, builder: Api):
    start(operator, plan(phases=2))
    assert claim(builder, phase_id="p2")["phase_id"] == "p2"
    body = problem_of(builder.post("/runs/r1/claim", {"phase_id": "p2"}), 409, "lease-held")
    assert body["detail"] == "builder holds phase p2"
    body = problem_of(builder.post("/runs/r1/claim", {"phase_id": "p9"}), 404, "phase-not-found")
    assert body["detail"] == "Phase p9 not found"


ONLY_SOME = """
version: 1
default_branch: main
builders:
  outside: {kind: pull, categories: [schema_change, docs]}
auditors:
  reviewer: {kind: pull, categories: [docs]}
"""


def test_a_declared_builder_is_given_its_own_categories_only(db: None):
    make_project(config=ONLY_SOME)
    body = plan(phases=3)
    for phase, category in zip(body["phases"], ("tests", "schema_contract_change", "docs"), strict=True):
        phase["task_category"] = category
    start(api_for("operator"), body)
    outside = api_for("builder", name="outside")
    refused = problem_of(outside.post("/runs/r1/claim", {"phase_id": "p1"}), 409, "category-not-taken")
    assert refused["detail"] == "outside takes schema_contract_change, docs; phase p1 is tests"
    result = {"phase_id": "p1", "run_id": "r1", "run_type": "project_build", "status": "success"}
    problem_of(outside.post("/runs/r1/phases/p1/builder_result", result), 409, "category-not-taken")
    assert outside.post("/runs/r1/claim", {"categories": ["tests"]}).status_code == 204
    assert [claim(outside)["phase_id"], claim(outside)["phase_id"]] == ["p2", "p3"]
    assert outside.post("/claim", {"kind": "build"}).status_code == 204
    assert claim(api_for("builder", name="undeclared"))["phase_id"] == "p1"


def test_a_declared_auditor_is_given_its_own_categories_only(db: None):
    make_project(config=ONLY_SOME)
    body = plan(phases=2)
    body["phases"][0]["task_category"] = "tests"
    start(api_for("operator"), body)
    for phase in Phase.objects.all():
        open_audit(phase, None, "approval", profile="docs_review")
    reviewer = api_for("auditor", name="reviewer")
    assert claim(reviewer, kind="audit")["phase_id"] == "p2"
    assert reviewer.post("/runs/r1/claim", {"kind": "audit"}).status_code == 204


def test_only_asked_for_categories_are_claimed_in_either_spelling(
    project: Project, operator: Api, builder: Api
):
    body = plan(phases=2)
    body["phases"][1]["task_category"] = "schema_change"
    start(operator, body)
    answer = builder.post("/runs/r1/claim", {"categories": ["tests"]})
    assert answer.status_code == 204
    assert claim(builder, categories=["tests", "schema_change"])["phase_id"] == "p2"


def test_a_claim_in_an_absent_run_is_not_found(project: Project, builder: Api):
    body = problem_of(builder.post("/runs/nowhere/claim", {}), 404, "run-not-found")
    assert body["detail"] == "Run nowhere not found"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "deploy"},
        {"ttl_s": 0},
        {"ttl_s": 1e9},
        {"ttl_s": "nan"},
        {"wait_s": -1},
        {"wait_s": True},
        {"categories": "docs"},
        {"categories": ["x"] * 101},
        {"phase_id": "../p"},
        [],
        "text",
    ],
)
def test_a_faulty_claim_is_refused(project: Project, operator: Api, builder: Api, body: Any):
    start(operator)
    assert builder.post("/runs/r1/claim", body).status_code == 422
    assert not Lease.objects.exists()


def test_builders_build_and_auditors_audit(project: Project, operator: Api, builder: Api, auditor: Api):
    start(operator)
    problem_of(auditor.post("/runs/r1/claim", {"kind": "build"}), 403, "role-missing")
    problem_of(builder.post("/claim", {"kind": "audit"}), 403, "role-missing")
    assert auditor.post("/runs/r1/claim", {"kind": "audit"}).status_code == 204


def test_a_claim_over_all_runs_takes_the_oldest(project: Project, operator: Api, builder: Api):
    start(operator, plan("first"))
    start(operator, plan("second"))
    found = [builder.post("/claim", {}).json()["run_id"] for _ in range(2)]
    assert found == ["first", "second"]
    assert builder.post("/claim", {}).status_code == 204


@pytest.mark.django_db(transaction=True)
def test_a_claim_takes_the_oldest_run_that_nobody_is_at(project: Project, operator: Api, builder: Api):
    for number in (1, 2):
        start(operator, plan(f"r{number}"))
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN; SELECT 1 FROM runs_run WHERE run_id = 'r1' FOR UPDATE")
            assert builder.post("/claim", {}).json()["run_id"] == "r2"  # and does not wait for r1
            cursor.execute("ROLLBACK")
        assert builder.post("/claim", {}).json()["run_id"] == "r1"
    finally:
        other.close()


def test_a_claim_goes_on_past_the_runs_that_others_took_first(
    project: Project, operator: Api, builder: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(waiting, "RUNS_A_LOOK", 2)
    for number in range(1, 6):
        start(operator, plan(f"r{number}"))
    real = services.claim_phase

    def slow(run_id: str, **fields: Any) -> Any:
        if run_id in ("r1", "r2", "r3", "r4"):
            raise LostRace(f"{run_id} was taken")
        return real(run_id, **fields)

    monkeypatch.setattr(services, "claim_phase", slow)
    assert builder.post("/claim", {}).json()["run_id"] == "r5"
    monkeypatch.setattr(waiting, "MAX_LOST", 4)
    operator.post("/runs/r5/cancel", {})
    assert builder.post("/claim", {}).status_code == 204


def test_a_claim_locks_no_run_that_has_work_for_others_only(db: None, monkeypatch: pytest.MonkeyPatch):
    make_project(config=ONLY_SOME)
    operator, outside = api_for("operator"), api_for("builder", name="outside")
    for name in (*(f"r{number}" for number in range(1, 8)), "schema"):
        body = plan(name)
        body["phases"][0]["task_category"] = "tests" if name != "schema" else "schema_contract_change"
        start(operator, body)
    asked: list[str] = []
    real = services.claim_phase

    def noted(run_id: str, **fields: Any) -> Any:
        asked.append(run_id)
        return real(run_id, **fields)

    monkeypatch.setattr(services, "claim_phase", noted)
    with CaptureQueriesContext(connection) as few:
        waiting.with_work_of_others(Run.objects.filter(pk="r1"), "build", None, "outside")
    with CaptureQueriesContext(connection) as many:
        found = waiting.with_work_of_others(Run.objects.all(), "build", None, "outside")
    assert found == [f"r{number}" for number in range(1, 8)]
    assert len(many) == len(few) == 2
    assert outside.post("/claim", {}).json()["run_id"] == "schema"
    assert asked == ["schema"]
    assert outside.post("/claim", {}).status_code == 204
    assert asked == ["schema"]
    # nor one that has work of a category which is asked for, and work that the agent takes, but none that is both
    body = plan("mixed", phases=2)
    body["phases"][0]["task_category"] = "tests"
    start(operator, body)
    assert outside.post("/claim", {"categories": ["tests"]}).status_code == 204
    assert asked == ["schema"]
    operator.post("/runs/mixed/cancel", {})
    assert waiting.with_work_of_others(Run.objects.all(), "build", None, "undeclared") == []
    assert api_for("builder", name="undeclared").post("/claim", {}).json()["run_id"] == "r1"


def test_a_claim_over_all_runs_stays_in_the_tokens_project(project: Project, operator: Api):
    other = make_project("other", is_default=False)
    start(operator, plan("default"))
    start(operator, {**plan("elsewhere"), "project_id": "other"})
    scoped = api_for("builder", name="scoped", project=other)
    assert scoped.post("/claim", {}).json()["run_id"] == "elsewhere"
    assert scoped.post("/claim", {}).status_code == 204
    problem_of(scoped.post("/claim", {"project_id": "demo"}), 404, "project-not-found")
    body = problem_of(scoped.post("/runs/default/claim", {}), 404, "run-not-found")
    assert body["detail"] == "Run default not found"


def test_a_claim_over_all_runs_without_a_project_needs_a_default(builder: Api):
    problem_of(builder.post("/claim", {}), 422, "no-project")


def test_a_heartbeat_extends_the_lease(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder, ttl_s=30)
    answer = builder.post(f"/leases/{lease['lease_id']}/heartbeat", {"fence": lease["fence"]})
    assert answer.status_code == 200
    assert set(answer.json()) == {"expires_at", "budget"}
    assert (answer.json()["budget"]["state"], answer.json()["budget"]["spent"]) == ("ok", None)
    assert answer.json()["expires_at"] > lease["expires_at"]


def test_an_old_fence_does_not_beat(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder)
    path = f"/leases/{lease['lease_id']}/heartbeat"
    problem_of(builder.post(path, {"fence": lease["fence"] + 1}), 409, "stale-lease")
    end_lease(lease["lease_id"])
    problem_of(builder.post(path, {"fence": lease["fence"]}), 409, "stale-lease")
    problem_of(builder.post(path, {}), 422, "invalid")


def test_a_lease_is_its_owners_alone(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder)
    thief = api_for("builder", name="thief")
    for verb in ("heartbeat", "release"):
        for api in (thief, operator):
            answer = api.post(f"/leases/{lease['lease_id']}/{verb}", {"fence": lease["fence"]})
            body = problem_of(answer, 404, "lease-not-found")
            assert body["detail"] == f"Lease {lease['lease_id']} not found"
    assert Lease.objects.get().released_at is None


def test_a_released_phase_is_there_to_claim_again(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder)
    path = f"/leases/{lease['lease_id']}/release"
    answer = builder.post(path, {"fence": lease["fence"], "why": "out of ideas"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert Attempt.objects.get().failure_reason == "out of ideas"
    problem_of(builder.post(path, {"fence": lease["fence"]}), 409, "stale-lease")
    assert claim(builder)["fence"] == 2


def test_an_absent_lease_is_not_found(builder: Api):
    problem_of(builder.post("/leases/none/heartbeat", {"fence": 1}), 404, "lease-not-found")
    problem_of(builder.post("/leases/a%00b/heartbeat", {"fence": 1}), 422, "invalid")


@pytest.mark.django_db(transaction=True)
def test_a_waiting_claim_gets_what_comes_meanwhile(project: Project, operator: Api, builder: Api):
    start(operator)
    first = claim(builder)
    answers: list[Any] = []

    def wait() -> None:
        try:
            answers.append(builder.post("/runs/r1/claim", {"wait_s": DEADLINE_S}))
        finally:
            connections.close_all()

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + DEADLINE_S
    while waiting.waiters.count == 0 and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert waiting.waiters.count == 1
    operator_view = Api(operator.client, builder.token)
    path = f"/leases/{first['lease_id']}/release"
    assert operator_view.post(path, {"fence": first["fence"]}).status_code == 204
    thread.join(DEADLINE_S)
    assert answers[0].status_code == 201
    assert answers[0].json()["fence"] == 2
    assert waiting.waiters.count == 0


def test_a_wait_ends_empty_when_its_time_is_over(project: Project, operator: Api, builder: Api):
    start(operator)
    claim(builder)
    assert builder.post("/runs/r1/claim", {"wait_s": 0.05}).status_code == 204
    assert builder.post("/claim", {"wait_s": 0.05}).status_code == 204


def test_a_wait_ends_when_the_run_does(project: Project, operator: Api, builder: Api):
    start(operator)
    assert operator.post("/runs/r1/cancel", {}).status_code == 200
    began = time.monotonic()
    assert builder.post("/runs/r1/claim", {"wait_s": DEADLINE_S}).status_code == 204
    assert time.monotonic() - began < DEADLINE_S / 2


def test_one_waiter_too_many_is_asked_to_come_back(
    project: Project, operator: Api, builder: Api, settings: Any
):
    settings.MAX_WAITERS = 0
    start(operator)
    claim(builder)
    for path in ("/runs/r1/claim", "/claim"):
        answer = builder.post(path, {"wait_s": DEADLINE_S})
        assert (answer.status_code, answer["Retry-After"]) == (204, "2")


def test_what_is_there_is_claimed_even_when_the_waiters_are_full(
    project: Project, operator: Api, builder: Api, settings: Any
):
    settings.MAX_WAITERS = 0
    start(operator)
    assert claim(builder, wait_s=5)["phase_id"] == "p1"


def test_an_expired_lease_is_claimed_by_the_next(project: Project, operator: Api, builder: Api):
    start(operator)
    end_lease(claim(builder)["lease_id"])
    supervisor.step("r1")
    second = api_for("builder", name="second")
    assert claim(second)["fence"] == 2
