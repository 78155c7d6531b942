"""Lists, history, the branch, and cancelling."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.models import Run
from strategy.models import Project
from tests.fakes import FakeLedger, FakeWorkspace
from tests.runs.api.conftest import Api, api_for, make_project, plan, problem_of, start
from tests.runs.api.test_claims import claim

pytestmark = pytest.mark.django_db


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [run["run_id"] for run in answer.json()["runs"]]


def test_runs_are_listed_newest_first(project: Project, operator: Api, reader: Api):
    for number in range(3):
        start(operator, plan(f"r{number}"))
    answer = reader.get("/runs")
    assert names(answer) == ["r2", "r1", "r0"]
    assert answer.json()["next_cursor"] is None
    row = answer.json()["runs"][0]
    assert (row["id"], row["project_id"], row["state"]) == ("r2", "demo", "PHASE_QUEUEING")
    assert "tiers" not in row


def test_pages_hold_every_run_once_while_runs_start(project: Project, operator: Api):
    for number in range(7):
        start(operator, plan(f"r{number}"))
    same_moment = Run.objects.get(pk="r3").created_at
    Run.objects.filter(pk__in=["r2", "r4"]).update(created_at=same_moment)
    seen, cursor = [], ""
    while True:
        body = operator.get(f"/runs?limit=2{cursor}").json()
        seen += [run["run_id"] for run in body["runs"]]
        if body["next_cursor"] is None:
            break
        start(operator, plan(f"new-{len(seen)}"))
        cursor = f"&cursor={body['next_cursor']}"
    assert sorted(seen) == [f"r{number}" for number in range(7)]


def test_runs_are_listed_by_state_and_project(project: Project, operator: Api):
    make_project("other", is_default=False)
    start(operator, plan("here"))
    start(operator, {**plan("there"), "project_id": "other"})
    operator.post("/runs/there/cancel", {})
    assert names(operator.get("/runs?state=DONE_CANCELLED")) == ["there"]
    assert names(operator.get("/runs?project_id=demo")) == ["here"]
    assert names(operator.get("/runs?state=GATE")) == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("state=LOST", "state"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=99999999999999999~..", "cursor"),
        ("cursor=999999999999999999999~r", "cursor"),
        ("project_id=%00", "project_id"),
    ],
)
def test_a_faulty_query_says_where(operator: Api, query: str, name: str):
    body = problem_of(operator.get(f"/runs?{query}"), 422, "invalid")
    assert body["detail"][0]["loc"] == ["query", name]


def test_a_list_takes_the_same_number_of_queries_at_any_size(project: Project, operator: Api):
    operator.get("/runs")
    counts = []
    for number in range(6):
        start(operator, plan(f"r{number}"))
        if number in (0, 5):
            with CaptureQueriesContext(connection) as queries:
                assert len(names(operator.get("/runs"))) == number + 1
            counts.append(len(queries))
    assert counts == [2, 2], "token, runs"


def test_events_tell_the_history_in_order(project: Project, operator: Api, builder: Api, reader: Api):
    start(operator)
    claim(builder)
    body = reader.get("/runs/r1/events").json()
    found = [(event["machine"], event["subject"], event["event"]) for event in body["events"]]
    assert found[:2] == [("run", "r1", "compiled"), ("run", "r1", "prepared")]
    assert ("phase", "p1", "claimed") in found
    event = next(event for event in body["events"] if event["event"] == "claimed")
    assert set(event) == {
        "id", "machine", "subject", "event", "from_state", "to_state", "who", "why", "data", "version", "at",
        "correlation_id",
    }  # fmt: skip
    assert (event["from_state"], event["to_state"], event["who"]) == ("QUEUED", "EXECUTING", "builder")
    assert event["version"] == 1
    ids = [event["id"] for event in body["events"]]
    assert ids == sorted(ids)
    assert (body["next_after"], body["has_more"]) == (ids[-1], False)


def test_events_are_read_on_from_where_one_stopped(project: Project, operator: Api, reader: Api):
    start(operator)
    everything = reader.get("/runs/r1/events").json()["events"]
    seen, after, has_more = [], 0, True
    while has_more:
        body = reader.get(f"/runs/r1/events?after={after}&limit=2").json()
        seen += body["events"]
        after, has_more = body["next_after"], body["has_more"]
    assert seen == everything
    assert reader.get(f"/runs/r1/events?after={after}").json()["next_after"] == after
    operator.post("/runs/r1/cancel", {"why": "enough"})
    later = reader.get(f"/runs/r1/events?after={after}").json()["events"]
    assert later[-1]["event"] == "cancelled"
    assert (later[-1]["who"], later[-1]["why"]) == ("operator", "enough")


def test_an_events_correlation_id_is_its_requests(project: Project, operator: Api):
    operator.post("/runs/start", plan(), headers={"X-Correlation-Id": "job-7"})
    events = operator.get("/runs/r1/events").json()["events"]
    assert {event["correlation_id"] for event in events} == {"job-7"}


def test_the_branch_is_shown_as_git_has_it(
    project: Project, operator: Api, reader: Api, workspace: FakeWorkspace
):
    start(operator)
    assert reader.get("/runs/r1/integration_status").json() == {
        "branch": "autonomous/r1",
        "exists": False,
        "message": "The branch does not exist yet",
    }
    workspace.branches["r1"] = {
        "branch": "autonomous/r1",
        "exists": True,
        "commit_count": 2,
        "latest_commit": "abc p1: Write",
        "ahead_of_main": 2,
        "behind_main": 0,
    }
    assert reader.get("/runs/r1/integration_status").json() == workspace.branches["r1"]


@pytest.mark.parametrize("path", ["", "/events", "/integration_status"])
def test_an_absent_run_is_not_found(project: Project, reader: Api, path: str):
    body = problem_of(reader.get(f"/runs/nowhere{path}"), 404, "run-not-found")
    assert body["detail"] == "Run nowhere not found"


def test_a_cancelled_run_is_ended_and_shown(
    project: Project, operator: Api, builder: Api, ledger: FakeLedger
):
    start(operator)
    lease = claim(builder)
    answer = operator.post("/runs/r1/cancel", {"why": "wrong plan"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["state"], body["failure_reason"]) == ("DONE_CANCELLED", "wrong plan")
    assert body["completed_at"].endswith("Z")
    assert body["tiers"][0]["phases"][0]["state"] == "FAILED"
    assert ledger.ended == ["r1"]
    answer = builder.post(f"/leases/{lease['lease_id']}/heartbeat", {"fence": lease["fence"]})
    problem_of(answer, 409, "stale-lease")
    problem_of(operator.post("/runs/r1/cancel"), 409, "run-ended")


def test_only_an_operator_cancels(project: Project, operator: Api):
    start(operator)
    api = api_for("builder", "auditor", "reader", "verifier", name="all-but-one")
    problem_of(api.post("/runs/r1/cancel", {}), 403, "role-missing")
    problem_of(operator.post("/runs/nowhere/cancel", {}), 404, "run-not-found")
