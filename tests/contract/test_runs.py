"""Service, runs, phases by hand, branch: GET /, /health, /runs/..., update_status, integration_status."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import plan, wait_for
from tests.contract.served import Answer, Api, Served
from tests.contract.shapes import NO_BRANCH, PHASE_OF_RUN, RUN, faults, text

pytestmark = pytest.mark.real


def detail_of(answer: Answer, status: int) -> Any:
    assert answer.status == status, answer.raw
    assert answer.is_problem
    return answer.body["detail"]


def test_the_service_says_what_it_is(served: Served):
    answer = served["nobody"].get("/")
    assert answer.status == 200
    assert not faults(answer.body, {"service": text, "version": text, "description": text})


def test_it_lives_and_is_ready_without_a_token(served: Served):
    answer = served["nobody"].get("/health")
    assert answer.status == 200
    assert not faults(answer.body, {"status": text})
    assert served["nobody"].get("/ready").status == 200


def test_openapi_is_published(served: Served):
    answer = served["nobody"].get("/openapi.json")
    assert answer.status == 200
    assert answer.body["openapi"].startswith("3.")


def test_a_started_run_has_the_shape_of_the_contract(operator: Api, fresh_id: str):
    answer = operator.post("/runs/start", plan(fresh_id))
    assert answer.status == 201
    assert not faults(answer.body, RUN)
    assert answer.body["id"] == answer.body["run_id"] == fresh_id
    assert answer.body["promotion_eligible_to_main"] == "false"


def test_a_run_that_is_got_has_the_shape_of_the_contract(reader: Api, started: str):
    answer = reader.get(f"/runs/{started}")
    assert answer.status == 200
    assert not faults(answer.body, RUN)


DEFAULTS = [
    ({}, {"safety_profile": "normal", "run_scope": "multi_tier", "run_token_cap": 5_000_000, "run_max_phases": 25,
          "run_max_duration_minutes": 120}),
    ({"max_duration_minutes": None}, {"run_max_duration_minutes": 120}),
    ({"run_scope": "incremental"}, {"run_scope": "multi_tier"}),
    ({"run_scope": "single_tier", "safety_profile": "safety_critical"},
     {"run_scope": "single_tier", "safety_profile": "safety_critical"}),
    ({"token_cap": 7, "max_phases": 2, "max_duration_minutes": 1},
     {"run_token_cap": 7, "run_max_phases": 2, "run_max_duration_minutes": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), DEFAULTS)
def test_what_a_start_leaves_out_is_the_contracts_default(
    operator: Api, fresh_id: str, options: dict[str, Any], expected: dict[str, Any]
):
    answer = operator.post("/runs/start", plan(fresh_id, **options))
    assert answer.status == 201, answer.raw
    strategy = operator.get(f"/runs/{fresh_id}/strategy").body
    assert {name: strategy[name] for name in expected} == expected


def test_the_order_is_by_index_always(operator: Api, fresh_id: str):
    body = plan(fresh_id, phases=4)
    body["tiers"].insert(0, {"tier_id": "t2", "tier_index": 1, "name": "Second"})
    body["phases"][0]["tier_id"] = "t2"
    body["phases"].reverse()
    run = operator.post("/runs/start", body).body
    for found in (run, operator.get(f"/runs/{fresh_id}").body):
        assert [tier["tier_id"] for tier in found["tiers"]] == ["t1", "t2"]
        assert [phase["phase_id"] for phase in found["tiers"][0]["phases"]] == ["p2", "p3", "p4"]


def test_a_run_that_exists_is_refused(operator: Api, started: str):
    assert detail_of(operator.post("/runs/start", plan(started)), 400) == f"Run {started} already exists"


def test_an_unknown_tier_is_refused_and_leaves_nothing(served: Served, operator: Api, fresh_id: str):
    body = plan(fresh_id)
    body["phases"][1]["tier_id"] = "t9"
    assert detail_of(operator.post("/runs/start", body), 400) == "Phase p2 references unknown tier t9"
    assert operator.get(f"/runs/{fresh_id}").status == 404
    assert not (served.runs_dir / fresh_id).exists()


REQUIRED = [
    ("run", None, "run_id"),
    *[("tiers", 0, name) for name in ("tier_id", "tier_index", "name")],
    *[("phases", 0, name) for name in ("phase_id", "phase_index", "tier_id", "name")],
]


@pytest.mark.parametrize(("part", "index", "name"), REQUIRED)
def test_a_required_field_of_a_start_that_is_missing_is_422(
    operator: Api, fresh_id: str, part: str, index: int | None, name: str
):
    body = plan(fresh_id)
    row = body[part] if index is None else body[part][index]
    del row[name]
    place = ["body", part, name] if index is None else ["body", part, index, name]
    found = [row["loc"] for row in detail_of(operator.post("/runs/start", body), 422)]
    assert place in found or place[:-1] in found, found


INVALID = [
    ("tiers", lambda body: body["tiers"].append(dict(body["tiers"][0]))),
    ("phases", lambda body: body["phases"].append(dict(body["phases"][0]))),
    ("run", lambda body: body["run"].update(max_duration_minutes=0)),
    ("run", lambda body: body["run"].update(max_duration_minutes=-5)),
    ("run", lambda body: body["run"].update(safety_profile="reckless")),
    ("run", lambda body: body["run"].update(run_scope="all")),
    ("run", lambda body: body["run"].update(token_cap="many")),
    ("phases", lambda body: body["run"].update(max_phases=1)),
    ("phases", lambda body: body["phases"][0].update(complexity="extreme")),
    ("tiers", lambda body: body.pop("tiers")),
    ("phases", lambda body: body.pop("phases")),
    ("run", lambda body: body.pop("run")),
]


@pytest.mark.parametrize(("place", "change"), INVALID)
def test_a_start_that_breaks_a_rule_is_422_and_leaves_nothing(
    served: Served, operator: Api, fresh_id: str, place: str, change: Any
):
    body = plan(fresh_id)
    change(body)
    detail = detail_of(operator.post("/runs/start", body), 422)
    assert place in detail[0]["loc"]
    assert operator.get(f"/runs/{fresh_id}").status == 404
    assert not (served.runs_dir / fresh_id).exists()


def test_too_many_phases_have_their_own_code(operator: Api, fresh_id: str):
    answer = operator.post("/runs/start", plan(fresh_id, phases=26))
    assert (answer.status, answer.body["code"]) == (422, "too-many-phases")


def test_without_a_default_project_a_start_is_422(served: Served):
    assert (served.before.status, served.before.body["code"]) == (422, "no-project")


def test_unknown_fields_are_ignored_at_every_level(operator: Api, fresh_id: str):
    body = {**plan(fresh_id), "extra": 1}
    for row in (body["run"], body["tiers"][0], body["phases"][0]):
        row["extra"] = {"deep": [1]}
    assert operator.post("/runs/start", body).status == 201


def test_a_plan_document_stands_in_place_of_tiers_and_phases(operator: Api, fresh_id: str):
    body = {"run": {"run_id": fresh_id}, "project_id": "quiet", "plan": "# Tier one\n\n- Write the page\n"}
    answer = operator.post("/runs/start", body)
    assert answer.status == 201, answer.raw
    assert not faults(answer.body, RUN)


STATUS = "/runs/{run}/phases/p1/update_status"


def test_a_phase_is_updated_in_the_words_of_the_contract(operator: Api, started: str):
    answer = operator.post(STATUS.format(run=started), {"state": "SKIPPED"})
    assert answer.status == 200, answer.raw
    assert set(answer.body) == {"message", "phase"}
    assert answer.body["message"] == "Phase p1 updated to state SKIPPED"
    phase = answer.body["phase"]
    assert not faults({name: phase[name] for name in PHASE_OF_RUN}, PHASE_OF_RUN)
    assert phase["state"] == "SKIPPED"
    for name in (
        "builder_attempts",
        "auditor_attempts",
        "tokens_used",
        "minor_issues_count",
        "major_issues_count",
    ):
        assert phase[name] == 0


def test_a_phase_state_that_does_not_exist_is_400(operator: Api, started: str):
    answer = operator.post(STATUS.format(run=started), {"state": "DONE"})
    assert detail_of(answer, 400) == "Invalid phase state: DONE"


def test_an_update_of_an_absent_phase_is_404(operator: Api, started: str):
    answer = operator.post(f"/runs/{started}/phases/p9/update_status", {"state": "SKIPPED"})
    assert detail_of(answer, 404) == f"Phase p9 not found in run {started}"


def test_an_update_without_a_state_is_422(operator: Api, started: str):
    [row] = detail_of(operator.post(STATUS.format(run=started), {"tokens_used": 1}), 422)
    assert row["loc"] == ["body", "state"]


def test_completion_without_evidence_is_409(operator: Api, started: str):
    answer = operator.post(STATUS.format(run=started), {"state": "COMPLETE"})
    assert (answer.status, answer.body["code"]) == (409, "evidence-missing")


@pytest.mark.parametrize("state", ["GATE", "CI_RUNNING"])
def test_a_move_that_is_not_in_the_table_is_409(operator: Api, started: str, state: str):
    answer = operator.post(STATUS.format(run=started), {"state": state})
    assert answer.status == 409
    assert isinstance(detail_of(answer, 409), str)


def test_absolute_tokens_are_booked_and_differing_counts_change_nothing(operator: Api, started: str):
    body = {"state": "QUEUED", "tokens_used": 42, "builder_attempts": 3, "minor_issues_count": 9}
    phase = operator.post(STATUS.format(run=started), body).body["phase"]
    assert (phase["tokens_used"], phase["builder_attempts"], phase["minor_issues_count"]) == (42, 0, 0)
    assert operator.get(f"/runs/{started}").body["tokens_used"] == 42
    events = operator.get(f"/runs/{started}/events").body["events"]
    assert [event["data"] for event in events if event["event"] == "counts_differ"]


@pytest.mark.parametrize("role", ["builder", "auditor", "verifier", "reader", "legacy"])
def test_only_operators_update_phases(served: Served, started: str, role: str):
    assert served[role].post(STATUS.format(run=started), {"state": "SKIPPED"}).status == 403


def test_a_branch_that_is_not_there_yet_says_so(operator: Api, reader: Api, fresh_id: str):
    body = plan(fresh_id)
    assert operator.post("/runs/start", body).status == 201
    wait_for(operator, fresh_id, lambda run: run["state"] == "PHASE_QUEUEING")
    answer = reader.get(f"/runs/{fresh_id}/integration_status")
    assert answer.status == 200
    assert answer.body["branch"] == f"autonomous/{fresh_id}"
    if not answer.body["exists"]:
        assert not faults(answer.body, NO_BRANCH)
