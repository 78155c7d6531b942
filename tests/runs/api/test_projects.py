"""Projects, rulesets, strategies and promotions over HTTP: for reading, without a secret."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import Run
from runs.transitions import note
from strategy.models import Project
from strategy.services import add_ruleset
from strategy.sources import shown_source
from tests.factories import make_project as factory_project
from tests.factories import make_run
from tests.runs.api.conftest import Api, api_for, make_project, problem_of, start

pytestmark = pytest.mark.django_db


def queries(api: Api, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert api.get(path).status_code == 200
    return len(captured)


def test_projects_are_listed_by_id_in_pages(project: Project, reader: Api):
    for name in ("a", "c", "b"):
        make_project(name, is_default=False)
    first = reader.get("/projects?limit=3").json()
    assert [row["project_id"] for row in first["projects"]] == ["a", "b", "c"]
    second = reader.get(f"/projects?limit=3&cursor={first['next_cursor']}").json()
    assert [row["project_id"] for row in second["projects"]] == ["demo"]
    assert second["next_cursor"] is None


def test_a_list_of_projects_takes_the_same_number_of_queries_at_any_size(project: Project, reader: Api):
    queries(reader, "/projects")
    few = queries(reader, "/projects")
    for number in range(5):
        make_project(f"more-{number}", is_default=False)
    assert queries(reader, "/projects") == few == 2, "token, projects"


def test_a_project_shows_what_agents_may_know(project: Project, reader: Api):
    body = reader.get("/projects/demo").json()
    assert (body["name"], body["default_branch"], body["is_default"]) == ("demo", "main", True)
    assert (body["ruleset_version"], body["source"]) == (1, "/srv/none.git")
    assert body["builders"] == [{"name": "outside", "kind": "pull", "categories": [], "description": ""}]
    assert body["gates"] == {"normal": [], "strict": []}


def test_commands_environments_and_credentials_are_never_shown(operator: Api):
    gate = {"name": "unit", "argv": ["run", "--key=hunter2"], "env": {"TOKEN": "hunter2"}}
    config = {
        "builders": {"writer": {"kind": "command", "argv": ["agent", "--key=hunter2"]}},
        "gates": {"profiles": {"normal": [gate]}},
    }
    factory_project("secret", source="https://hunter2@host/x.git?token=hunter2", config=config)
    for path in ("/projects", "/projects/secret"):
        assert b"hunter2" not in operator.get(path).content
    body = operator.get("/projects/secret").json()
    assert body["gates"]["strict"] == [{"name": "unit", "suite": None, "timeout_s": 600}]
    assert body["source"] == "https://host/x.git"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("/srv/git/x.git", "/srv/git/x.git"),
        ("git@host:team/x.git", "git@host:team/x.git"),
        ("https://host:8443/x.git", "https://host:8443/x.git"),
        ("https://token@host/x.git", "https://host/x.git"),
        ("https://user:pass@word@host/x.git", "https://host/x.git"),
        ("ssh://git@host/x.git", "ssh://git@host/x.git"),
        ("ssh://git:pass@host/x.git", "ssh://host/x.git"),
        ("https://host/x.git?token=a#b", "https://host/x.git"),
        ("https://[half/x.git", "(a URL that can't be read)"),
    ],
)
def test_a_source_is_shown_without_credentials(source: str, shown: str):
    assert shown_source(source) == shown


def test_rulesets_are_listed_newest_first_and_read_in_canonical_bytes(project: Project, reader: Api):
    assert project.ruleset is not None
    add_ruleset(project, {**project.ruleset.document, "run_token_cap": 7}, "tests")
    body = reader.get("/projects/demo/rulesets").json()
    assert [(row["version"], row["is_in_force"]) for row in body["rulesets"]] == [(2, True), (1, False)]
    assert set(body["rulesets"][0]) == {"version", "sha256", "created_at", "created_by", "is_in_force"}
    answer = reader.get("/projects/demo/rulesets/2")
    assert answer["ETag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert (answer.json()["version"], answer.json()["run_token_cap"]) == (2, 7)
    problem_of(reader.get("/projects/demo/rulesets/3"), 404, "ruleset-not-found")
    problem_of(reader.get(f"/projects/demo/rulesets/{10**30}"), 404, "ruleset-not-found")


def test_a_list_of_rulesets_takes_the_same_number_of_queries_at_any_size(project: Project, reader: Api):
    path = "/projects/demo/rulesets"
    queries(reader, path)
    few = queries(reader, path)
    for cap in range(1, 5):
        assert project.ruleset is not None
        add_ruleset(project, {**project.ruleset.document, "run_token_cap": cap}, "tests")
    assert queries(reader, path) == few == 3, "token, project, rulesets"


def test_a_runs_strategy_is_the_frozen_one(project: Project, operator: Api, reader: Api):
    start(operator)
    answer = reader.get("/runs/r1/strategy")
    strategy = Run.objects.get().strategy
    assert answer.content.decode() == strategy.canonical
    assert answer["ETag"] == f'"{strategy.sha256}"'
    assert answer["Content-Type"] == "application/json"


def test_a_promotion_remarks_on_patches_that_nothing_tested(project: Project, reader: Api):
    run = make_run(project, run_id="r1")
    for _ in range(2):  # a rebuilt candidate is waived again
        note(run.phases.earliest("pk"), "gate_waived")
    [remark] = reader.get("/runs/r1/promotion").json()["remarks"]
    assert remark == {
        "code": "gate-waived",
        "detail": "the gate of 1 phase had no steps: patches landed untested",
    }


def test_a_promotion_says_why_not(project: Project, operator: Api, reader: Api):
    start(operator)
    body = reader.get("/runs/r1/promotion").json()
    assert body.pop("head_commit")
    assert body == {
        "run_id": "r1",
        "state": "PHASE_QUEUEING",
        "branch": "autonomous/r1",
        "eligible": False,
        "promotion_eligible_to_main": "false",
        "remarks": [],
        "reasons": [
            {"code": "not-successful", "detail": "the run is PHASE_QUEUEING"},
            {"code": "no-run-summary", "detail": "the run has not ended"},
        ],
    }


OTHERS: list[Any] = [
    ("/projects/other", "project-not-found"),
    ("/projects/other/rulesets", "project-not-found"),
    ("/projects/other/rulesets/1", "project-not-found"),
    ("/runs/r1/strategy", "run-not-found"),
    ("/runs/r1/promotion", "run-not-found"),
    ("/runs/r1/events/stream", "run-not-found"),
]


@pytest.mark.parametrize(("path", "code"), OTHERS)
def test_another_projects_things_are_not_there(project: Project, operator: Api, path: str, code: str):
    other = make_project("other", is_default=False)
    start(operator)
    mine = make_project("mine", is_default=False)
    problem_of(api_for("reader", project=mine).get(path), 404, code)
    assert [
        row["project_id"] for row in api_for("reader", project=other).get("/projects").json()["projects"]
    ] == ["other"]


def test_a_faulty_cursor_or_id_says_where(project: Project, reader: Api):
    for path, loc in (
        ("/projects?cursor=..", ["query", "cursor"]),
        ("/projects/demo/rulesets?cursor=x", ["query", "cursor"]),
        ("/projects/.hidden", ["path", "project_id"]),
        ("/projects?limit=0", ["query", "limit"]),
    ):
        assert problem_of(reader.get(path), 422, "invalid")["detail"][0]["loc"] == loc
