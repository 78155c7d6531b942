"""`POST /runs/start` and `GET /runs/{run_id}`: the fixed shapes, codes and strings."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import Outbox, Phase, Run, Tier
from strategy.models import Project, Strategy
from tests.runs.api.conftest import Api, api_for, make_project, plan, problem_of, start

pytestmark = pytest.mark.django_db
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def rows() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Run, Tier, Phase, Strategy, Outbox))


def test_a_started_run_is_answered_in_the_fixed_shape(project: Project, operator: Api):
    answer = operator.post("/runs/start", plan("build-1", tiers=1, phases=2))
    assert answer.status_code == 201, answer.content
    body = answer.json()
    tier = body["tiers"][0]
    ids = [phase.pop("id") for phase in tier["phases"]]
    assert all(isinstance(value, int) for value in [*ids, tier.pop("id")])
    assert TIME.fullmatch(body.pop("created_at"))
    assert body == {
        "id": "build-1",
        "run_id": "build-1",
        "state": "RUN_CREATED",
        "safety_profile": "normal",
        "run_scope": "multi_tier",
        "started_at": None,
        "completed_at": None,
        "tokens_used": 0,
        "ci_runs_used": 0,
        "minor_issues_count": 0,
        "major_issues_count": 0,
        "promotion_eligible_to_main": "false",
        "debt_status": "none",
        "failure_reason": None,
        "tiers": [
            {
                "tier_id": "t1",
                "name": "Tier 1",
                "state": "PENDING",
                "tier_index": 1,
                "cleanliness": "clean",
                "minor_issues_count": 0,
                "major_issues_count": 0,
                "phases": [
                    {
                        "phase_id": f"p{number}",
                        "name": f"Phase {number}",
                        "state": "QUEUED",
                        "task_category": "docs",
                        "complexity": "low",
                        "builder_mode": body["tiers"][0]["phases"][number - 1]["builder_mode"],
                        "phase_index": number,
                    }
                    for number in (1, 2)
                ],
            }
        ],
    }


def test_a_run_that_is_got_is_the_run_that_was_started(project: Project, operator: Api, reader: Api):
    started = operator.post("/runs/start", plan("r1", tiers=2, phases=2)).json()
    assert reader.get("/runs/r1").json() == started


def test_the_contracts_defaults_are_stored(project: Project, operator: Api):
    start(operator)
    run = Run.objects.get()
    assert (run.token_cap, run.max_phases, run.max_duration_minutes) == (5_000_000, 25, 120)
    assert (run.safety_profile, run.run_scope, run.created_by) == ("normal", "multi_tier", "operator")


def test_null_options_are_the_defaults_and_incremental_is_multi_tier(project: Project, operator: Api):
    start(operator, plan(max_duration_minutes=None, token_cap=None, run_scope="incremental"))
    run = Run.objects.get()
    assert (run.max_duration_minutes, run.token_cap, run.run_scope) == (120, 5_000_000, "multi_tier")


def test_given_options_are_taken(project: Project, operator: Api):
    start(operator, plan(token_cap=9, max_phases=3, max_duration_minutes=1, safety_profile="safety_critical"))
    run = Run.objects.get()
    assert (run.token_cap, run.max_phases, run.max_duration_minutes) == (9, 3, 1)
    assert run.safety_profile == "safety_critical"


def test_tiers_and_phases_come_in_index_order(project: Project, operator: Api):
    body = plan(tiers=3, phases=3)
    body["tiers"].reverse()
    body["phases"].reverse()
    answer = operator.post("/runs/start", body).json()
    assert [tier["tier_id"] for tier in answer["tiers"]] == ["t1", "t2", "t3"]
    found = [phase["phase_id"] for tier in answer["tiers"] for phase in tier["phases"]]
    assert found == [f"p{number}" for number in range(1, 10)]


def test_a_run_that_exists_is_refused_in_the_contracts_words(project: Project, operator: Api):
    start(operator)
    body = problem_of(operator.post("/runs/start", plan()), 400, "run-exists")
    assert body["detail"] == "Run r1 already exists"


def test_an_unknown_tier_is_refused_in_the_contracts_words(project: Project, operator: Api):
    body = plan()
    body["phases"][0]["tier_id"] = "t9"
    before = rows()
    answer = problem_of(operator.post("/runs/start", body), 400, "unknown-tier")
    assert answer["detail"] == "Phase p1 references unknown tier t9"
    assert rows() == before


def test_too_many_phases_are_refused(project: Project, operator: Api):
    before = rows()
    problem_of(operator.post("/runs/start", plan(phases=26)), 422, "too-many-phases")
    problem_of(operator.post("/runs/start", plan(phases=3, max_phases=2)), 422, "too-many-phases")
    assert rows() == before


def test_without_a_default_project_there_is_none(operator: Api):
    make_project("other", is_default=False)
    body = problem_of(operator.post("/runs/start", plan()), 422, "no-project")
    assert body["detail"][0]["loc"] == ["body", "project_id"]


def test_a_project_is_named_beside_the_run_or_in_it(project: Project, operator: Api):
    make_project("other", is_default=False)
    start(operator, {**plan("beside"), "project_id": "other"})
    start(operator, plan("within", project_id="other"))
    assert set(Run.objects.values_list("project__project_id", flat=True)) == {"other"}


def test_an_unknown_project_is_not_found(project: Project, operator: Api):
    answer = operator.post("/runs/start", {**plan(), "project_id": "nowhere"})
    assert problem_of(answer, 404, "project-not-found")["detail"] == "Project nowhere not found"


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"run": None}, ["body", "run"]),
        ({"run": {}}, ["body", "run", "run_id"]),
        ({"run": {"run_id": "a..b"}}, ["body", "run", "run_id"]),
        ({"run": {"run_id": "a/b"}}, ["body", "run", "run_id"]),
        ({"run": {"run_id": "x.lock"}}, ["body", "run", "run_id"]),
        ({"run": {"run_id": "a\n"}}, ["body", "run", "run_id"]),
        ({"run": {"run_id": 7}}, ["body", "run", "run_id"]),
        ({"run": {"run_id": "r", "max_duration_minutes": 0}}, ["body", "run", "max_duration_minutes"]),
        ({"run": {"run_id": "r", "max_duration_minutes": 1e300}}, ["body", "run", "max_duration_minutes"]),
        ({"run": {"run_id": "r", "token_cap": -1}}, ["body", "run", "token_cap"]),
        ({"run": {"run_id": "r", "token_cap": 2**70}}, ["body", "run", "token_cap"]),
        ({"run": {"run_id": "r", "token_cap": True}}, ["body", "run", "token_cap"]),
        ({"run": {"run_id": "r", "max_phases": "many"}}, ["body", "run", "max_phases"]),
        ({"run": {"run_id": "r", "safety_profile": "reckless"}}, ["body", "run", "safety_profile"]),
        ({"run": {"run_id": "r", "run_scope": "galaxy"}}, ["body", "run", "run_scope"]),
        ({"tiers": "t1"}, ["body", "tiers"]),
        ({"tiers": ...}, ["body", "tiers"]),
        ({"phases": ...}, ["body", "phases"]),
        ({"phases": [None]}, ["body", "phases", 0]),
        ({"phases": [{"phase_id": "p"}]}, ["body", "phases", 0]),
        ({"plan": "# A plan"}, ["body", "plan"]),
        ({"plan": 5}, ["body", "plan"]),
    ],
)
def test_a_faulty_start_says_where_and_leaves_no_row(
    project: Project, operator: Api, change: dict[str, Any], loc: list[Any]
):
    body = {key: value for key, value in {**plan(), **change}.items() if value is not ...}
    before = rows()
    answer = operator.post("/runs/start", body)
    found = problem_of(answer, 422, "invalid")["detail"]
    assert all(set(row) == {"type", "loc", "msg"} for row in found)
    assert any(row["loc"][: len(loc)] == loc for row in found), found
    assert rows() == before


@pytest.mark.parametrize(
    ("phases", "loc"),
    [
        ({1: {"phase_id": "p1"}}, ["body", "phases", 1, "phase_id"]),
        ({0: {"depends_on": ["p9"]}}, ["body", "phases", 0, "depends_on", 0]),
        ({0: {"depends_on": ["p2"]}, 1: {"depends_on": ["p1"]}}, ["body", "phases", 0, "depends_on"]),
        ({0: {"scope": ["../up"]}}, ["body", "phases", 0, "scope", 0]),
    ],
)
def test_a_duplicate_a_cycle_and_an_unknown_dependency_say_where(
    project: Project, operator: Api, phases: dict[int, dict[str, Any]], loc: list[Any]
):
    body = plan(phases=2)
    for index, change in phases.items():
        body["phases"][index].update(change)
    found = problem_of(operator.post("/runs/start", body), 422, "invalid")["detail"]
    assert loc in [row["loc"] for row in found], found


def test_unknown_fields_are_ignored(project: Project, operator: Api):
    body = plan()
    body["surprise"] = {"deep": [1]}
    body["run"]["surprise"] = body["tiers"][0]["surprise"] = body["phases"][0]["surprise"] = 1
    assert operator.post("/runs/start", body).status_code == 201


@pytest.mark.parametrize("form", ["json", "document"])
def test_neither_a_request_nor_a_plan_configures_the_project(project: Project, operator: Api, form: str):
    before = Project.objects.values().get(pk=project.pk)
    theirs = {
        "builders": {"theirs": {"kind": "command", "argv": ["/bin/touch", "/tmp/theirs"]}},
        "gates": {"profiles": {"normal": []}},
        "protected_paths": [],
    }
    body = plan()
    if form == "document":
        lines = "\n".join(f"  {name}: {json.dumps(value)}" for name, value in theirs.items())
        body = {"run": body["run"], "plan": f"# Plan\n\n## Tier\n\n- Write it\n{lines}\n"}
    for place in (body, body["run"]):
        place |= {**theirs, "config": theirs, "autopack.yaml": theirs}
    answer = operator.post("/runs/start", body)
    assert answer.status_code == 201, answer.content
    assert Run.objects.get().config == before["config"]  # what workers go by
    assert Project.objects.values().get(pk=project.pk) == before


def test_a_plan_document_starts_linked_runs(project: Project, operator: Api):
    tiers = "\n".join(
        f"## Tier {tier}\n" + "\n".join(f"- Write page {tier}.{number}" for number in range(20))
        for tier in (1, 2)
    )
    answer = operator.post("/runs/start", {"run": {"run_id": "doc"}, "plan": f"# Plan\n\n{tiers}\n"})
    assert answer.status_code == 201, answer.content
    assert answer.json()["run_id"] == "doc"
    assert answer["Link"] == '</runs/doc.2>; rel="next"'
    assert Run.objects.get(pk="doc.2").previous_id == "doc"
    assert Phase.objects.filter(run="doc").count() == 20


def test_an_absent_run_is_not_found_in_the_contracts_words(project: Project, reader: Api):
    body = problem_of(reader.get("/runs/nowhere"), 404, "run-not-found")
    assert body["detail"] == "Run nowhere not found"


def test_a_run_may_be_named_start(project: Project, operator: Api):
    problem_of(operator.get("/runs/start"), 404, "run-not-found")
    start(operator, plan("start"))
    assert operator.get("/runs/start").json()["run_id"] == "start"


def test_a_run_is_shown_in_the_same_number_of_queries_at_any_size(project: Project, operator: Api):
    start(operator, plan("small", tiers=1, phases=1))
    start(operator, plan("large", tiers=5, phases=5))
    operator.get("/runs/small")  # the token's last use is noted once a minute
    counts = []
    for run_id in ("small", "large"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert operator.get(f"/runs/{run_id}").status_code == 200
        counts.append(len(queries))
    assert counts == [3, 3], "token, run, plan"


def test_a_start_takes_the_same_number_of_queries_at_any_size(project: Project, operator: Api):
    counts: list[int] = []
    operator.get("/runs")  # the token's last use is noted once a minute
    for run_id, tiers in (("small", 1), ("large", 5)):
        with CaptureQueriesContext(connection) as queries:
            answer = operator.post("/runs/start", plan(run_id, tiers=tiers, phases=5))
        assert answer.status_code == 201
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 16


def test_a_caller_without_the_role_may_not_start(project: Project, builder: Api):
    problem_of(builder.post("/runs/start", plan()), 403, "role-missing")


def test_the_starter_role_of_the_legacy_client_is_enough(project: Project, anonymous: Api, settings: Any):
    problem_of(anonymous.post("/runs/start", plan()), 401, "not-authenticated")
    settings.OPEN_LOOPBACK = True
    assert anonymous.post("/runs/start", plan()).status_code == 201
    assert Run.objects.get().created_by == "legacy-client"


def test_a_scoped_operator_starts_in_its_own_project_only(project: Project):
    other = make_project("other", is_default=False)
    scoped = api_for("operator", name="scoped", project=other)
    assert scoped.post("/runs/start", plan("mine")).status_code == 201
    assert Run.objects.get(pk="mine").project == other
    answer = scoped.post("/runs/start", {**plan("theirs"), "project_id": "demo"})
    assert problem_of(answer, 404, "project-not-found")["detail"] == "Project demo not found"
