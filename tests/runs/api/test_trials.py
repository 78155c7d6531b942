"""Plans and rulesets tried over HTTP: every fault told, nothing stored, another project's as absent as none."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import Run
from strategy.models import Project, Ruleset, Strategy
from tests.runs.api.conftest import Api, api_for, make_project, plan, problem_of

pytestmark = pytest.mark.django_db
TEXT = "# Plan\n\n## One\n\n- Fix a typo in the README\n  id: typo\n- Add the login page\n  id: login\n"
ROWS = {name: value for name, value in plan(tiers=2, phases=2).items() if name != "run"}


def test_a_check_lists_every_fault_with_its_line(reader: Api, project: Project):
    answer = reader.post(
        "/plans/check", {"plan": "# P\n## T\n- a\n  complexity: huge\n- b\n  scope: ../up\n"}
    )
    body = answer.json()
    assert (answer.status_code, body["is_valid"], body["phase_count"]) == (200, False, None)
    assert [(row["type"], row["line"]) for row in body["problems"]] == [
        ("bad_complexity", 4),
        ("bad_glob", 6),
    ]
    assert reader.post("/plans/check", {"plan": TEXT}).json() == {
        "is_valid": True, "tier_count": 1, "phase_count": 2, "problems": []
    }  # fmt: skip


def test_faults_of_json_have_a_place_and_in_a_text_a_line(reader: Api, project: Project):
    phases = [{**ROWS["phases"][0], "tier_id": "none"}, {**ROWS["phases"][1], "complexity": "huge"}]
    rows = reader.post("/plans/check", {"tiers": ROWS["tiers"], "phases": phases}).json()["problems"]
    assert [(row["loc"], row["line"]) for row in rows] == [(["body", "phases", 1, "complexity"], None)]
    text = """{"tiers": [{"tier_id": "t", "tier_index": 0, "name": "T"}],
"phases": [
  {"phase_id": "p", "phase_index": 0,
   "tier_id": "u", "name": "P"}]}"""
    rows = reader.post("/plans/check", {"plan": text}).json()["problems"]
    assert [(row["type"], row["line"]) for row in rows] == [("unknown_tier", 4)]


def test_named_scopes_are_looked_up_in_the_project_that_is_named(reader: Api, project: Project):
    body = {"plan": "# P\n## T\n- a\n  scope: @docs\n"}
    assert reader.post("/plans/check", body).json()["is_valid"]
    rows = reader.post("/plans/check", {**body, "project_id": "demo"}).json()["problems"]
    assert [row["type"] for row in rows] == ["unknown_scope"]


def test_explain_says_what_each_phase_is_taken_for_and_why(reader: Api, project: Project):
    body = reader.post("/plans/explain", {"plan": TEXT, "project_id": "demo"}).json()
    [run] = body["runs"]
    assert run["phases"][1]["because"][0] == "category security_auth_change: the text says 'login'"
    values = {row["name"]: (row["value"], row["rule"]) for row in run["phases"][1]["values"]}
    assert values["ci_profile"][0] == "strict"
    assert values["requires_audit"] == (True, "the opposite of auto_apply")
    asked = reader.post("/plans/explain", {"plan": TEXT, "run": {"token_cap": 7}}).json()["runs"][0]["values"]
    assert {"name": "run_token_cap", "value": 7, "rule": "asked for when the run was started"} in asked


def test_split_and_convert_show_the_other_forms(reader: Api, project: Project):
    body = reader.post("/plans/split", {**ROWS, "max_phases": 3, "run_id": "big"}).json()
    assert [(run["run_id"], run["after"], run["phase_count"]) for run in body["runs"]] == [
        ("big", None, 2), ("big.2", "big", 2)
    ]  # fmt: skip
    assert reader.post("/plans/split", {"plan": TEXT}).json()["max_phases"] == 25
    forms = reader.post("/plans/convert", {"plan": TEXT}).json()
    again = reader.post("/plans/convert", {"tiers": forms["tiers"], "phases": forms["phases"]}).json()
    assert again == forms
    assert reader.post("/plans/convert", {"plan": forms["plan"]}).json() == forms


def test_a_plan_that_is_tried_has_bounded_text(reader: Api, project: Project):
    phases = [{**ROWS["phases"][0], "description": "x" * 1_000_001}]
    problem_of(reader.post("/plans/explain", {"tiers": ROWS["tiers"], "phases": phases}), 422, "invalid")


@pytest.mark.parametrize("route", ["/plans/check", "/plans/explain", "/plans/split", "/plans/convert"])
@pytest.mark.parametrize(
    "body", [{}, {"plan": ""}, {"plan": "x" * 1_000_001}, {"plan": TEXT, **ROWS}, {"tiers": []}, {"plan": 3}]
)
def test_what_is_no_plan_is_refused_by_field(reader: Api, project: Project, route: str, body: dict[str, Any]):
    problem_of(reader.post(route, body), 422, "invalid")


def test_a_dry_run_stores_nothing_and_names_line_and_field(operator: Api, project: Project):
    path, sent = "/projects/demo/rulesets/dry_run", {"plan": TEXT, "ruleset": {"run_token_cap": 300_000}}
    before = [model.objects.count() for model in (Ruleset, Strategy, Run)]
    body = operator.post(path, sent).json()
    assert ("run_token_cap", 5_000_000, 300_000) in [
        (row["name"], row["before"], row["after"]) for row in body["differences"]
    ]
    assert [model.objects.count() for model in (Ruleset, Strategy, Run)] == before
    refused = problem_of(operator.post(path, {**sent, "ruleset": "run_token_cap: x\n"}), 422, "invalid")
    assert refused["detail"][0]["loc"] == ["body", "ruleset", "run_token_cap"]
    assert refused["detail"][0]["msg"].startswith("line 1: ")
    problem_of(operator.post(path, {**sent, "ruleset": [1]}), 422, "invalid")
    problem_of(operator.post(path, {**ROWS, "ruleset": {"run_max_phases": 1}}), 422, "too-many-phases")


def test_a_replay_without_a_past_says_so_and_its_number_is_bounded(operator: Api, project: Project):
    path = "/projects/demo/rulesets/replay"
    body = operator.post(path, {"ruleset": {}}).json()
    assert body["summary"] == ["No run of this project has ended yet: there is nothing to replay."]
    for runs in (0, 1001, "many"):
        problem_of(operator.post(path, {"ruleset": {}, "runs": runs}), 422, "invalid")


def test_the_classification_in_force_is_shown(reader: Api, project: Project):
    body = reader.get("/projects/demo/classification").json()
    assert [row["category"] for row in body["rows"]][:2] == ["security_auth_change", "schema_contract_change"]
    assert "login" in body["rows"][0]["words"]


def test_another_project_is_as_absent_as_one_that_is_not_there(project: Project):
    scoped = api_for("operator", name="scoped", project=make_project("other", is_default=False))
    for name in ("demo", "nowhere"):
        sent = {"plan": TEXT, "ruleset": {}, "project_id": name}
        for route in (
            f"/projects/{name}/rulesets/dry_run",
            f"/projects/{name}/rulesets/replay",
            "/plans/explain",
        ):
            problem_of(scoped.post(route, sent), 404, "project-not-found")
        problem_of(scoped.get(f"/projects/{name}/classification"), 404, "project-not-found")


def test_as_many_queries_for_a_large_plan_as_for_a_small_one(operator: Api, project: Project):
    operator.get("/projects")  # notes the token's use, once a minute
    counts = []
    for phases in (1, 20):
        rows = {name: value for name, value in plan(phases=phases).items() if name != "run"}
        with CaptureQueriesContext(connection) as seen:
            assert (
                operator.post("/projects/demo/rulesets/dry_run", {**rows, "ruleset": {}}).status_code == 200
            )
        counts.append(len(seen))
    assert counts[0] == counts[1]
