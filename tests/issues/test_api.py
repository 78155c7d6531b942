"""The three issue routes: both forms of a report, the fixed shapes, the fixed words of errors."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from issues.api import views
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, Issue
from runs.tokens import create_token
from tests.factories import make_project, make_run
from tests.issues.reports import report

pytestmark = [pytest.mark.django_db, pytest.mark.urls("issues.api.urls")]
FORM = {"issue_key": "k1", "severity": "minor", "source": "cursor_self_doubt", "category": "test_failure"}


def client(*roles: str, project=None) -> APIClient:
    """A client with a token of its own."""
    value = create_token("agent", roles=roles or ("builder",), project=project)
    http = APIClient()
    http.credentials(HTTP_AUTHORIZATION=f"Bearer {value}")
    return http


def path_of(run, phase_id: str = "P1", query: dict[str, str] | None = None) -> str:
    """The route of a phase, with query parameters if there are any."""
    path = f"/runs/{run.run_id}/phases/{phase_id}/record_issue"
    return f"{path}?{urlencode(query)}" if query else path


def test_query_parameters_with_a_bare_list_record_an_issue():
    run = make_run()
    answer = client().post(path_of(run, query=FORM), ["a.py:1", "b"], format="json")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"message", "phase_file", "run_index_entry", "project_backlog_entry"}
    assert body["message"] == "Issue k1 recorded"
    [issue] = body["phase_file"]["issues"]
    assert issue["evidence_refs"] == ["a.py:1", "b"]
    assert issue["source"] == "cursor_self_doubt"
    assert body["project_backlog_entry"]["status"] == "open"


def test_query_parameters_need_no_body():
    run = make_run()
    form = {**FORM, "task_category": "docs", "complexity": "low"}
    answer = client("auditor").post(path_of(run, query=form))
    assert answer.status_code == 200
    issue = Issue.objects.get()
    assert (issue.evidence_refs, issue.task_category, issue.complexity) == ([], "docs", "low")


def test_one_object_records_an_issue():
    run = make_run()
    body = {**FORM, "evidence_refs": ["x"], "description": "why", "expected_fail": True, "unknown": 1}
    answer = client("verifier").post(path_of(run), body, format="json")
    assert answer.status_code == 200
    issue = Issue.objects.get()
    assert (issue.expected_fail, issue.description, issue.evidence_refs) == (True, "why", ["x"])
    assert answer.json()["project_backlog_entry"] == {}


def test_an_object_may_leave_the_rest_to_the_query():
    run = make_run()
    answer = client().post(path_of(run, query=FORM), {"evidence_refs": ["x"]}, format="json")
    assert answer.status_code == 200
    assert Issue.objects.get().evidence_refs == ["x"]


def test_the_answer_holds_the_counts_of_the_phase_and_only_the_issue_of_the_call():
    run = make_run()
    http = client()
    for number in range(3):
        answer = http.post(path_of(run), {**FORM, "issue_key": f"k{number}"}, format="json")
    phase_file = answer.json()["phase_file"]
    assert [issue["issue_key"] for issue in phase_file["issues"]] == ["k2"]
    assert (phase_file["minor_issue_count"], phase_file["issue_state"]) == (3, "has_minor_issues")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"severity": "fatal"}, "severity"),
        ({"severity": None}, "severity"),
        ({"issue_key": ""}, "issue_key"),
        ({"issue_key": "k" * 257}, "issue_key"),
        ({"issue_key": "a\nb"}, "issue_key"),
        ({"source": "two words"}, "source"),
        ({"source": "s" * 65}, "source"),
        ({"category": "c" * 65}, "category"),
        ({"evidence_refs": "not a list"}, "evidence_refs"),
        ({"evidence_refs": [{}]}, "evidence_refs"),
        ({"evidence_refs": ["x"] * 1001}, "evidence_refs"),
        ({"expected_fail": "perhaps"}, "expected_fail"),
    ],
)
def test_a_field_that_breaks_a_rule_is_422_with_its_place_and_leaves_no_row(change, place):
    run = make_run()
    answer = client().post(path_of(run), {**FORM, **change}, format="json")
    assert answer.status_code == 422
    assert all({"type", "loc", "msg"} <= set(row) for row in answer.json()["detail"])
    assert answer.json()["detail"][0]["loc"][:2] == ["body", place]
    assert not Issue.objects.exists()


@pytest.mark.parametrize("missing", ["issue_key", "severity", "source", "category"])
def test_a_missing_query_parameter_is_422_at_its_place(missing):
    run = make_run()
    form = {key: value for key, value in FORM.items() if key != missing}
    answer = client().post(path_of(run, query=form), [], format="json")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", missing]


@pytest.mark.parametrize(("body", "loc"), [([1, {}], ["body", 1]), ("text", ["body"]), (7, ["body"])])
def test_a_body_that_is_neither_form_is_422(body, loc):
    run = make_run()
    answer = client().post(path_of(run, query=FORM), body, format="json")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == loc


def test_what_is_not_there_is_named_in_the_contracts_words():
    run = make_run()
    http = client()
    lost = http.post("/runs/nope/phases/P1/record_issue", FORM, format="json")
    assert (lost.status_code, lost.json()["detail"]) == (404, "Run nope not found")
    lost = http.post(path_of(run, "P9"), FORM, format="json")
    assert (lost.status_code, lost.json()["detail"]) == (404, f"Phase P9 not found in run {run.run_id}")
    lost = http.get("/runs/nope/issues/index")
    assert (lost.status_code, lost.json()["detail"]) == (404, "Run nope not found")
    lost = http.get("/project/issues/backlog", {"project_id": "nope"})
    assert (lost.status_code, lost.json()["detail"]) == (404, "Project nope not found")


def test_an_id_that_can_be_none_is_422():
    assert client().post("/runs/a..b/phases/P1/record_issue", FORM, format="json").status_code == 422


def test_readers_may_read_and_not_record():
    run = make_run()
    http = client("reader")
    assert http.get(f"/runs/{run.run_id}/issues/index").status_code == 200
    assert http.get("/project/issues/backlog", {"project_id": run.project.project_id}).status_code == 200
    assert http.post(path_of(run), FORM, format="json").status_code == 403
    assert APIClient().post(path_of(run), FORM, format="json").status_code == 401


def test_a_token_of_another_project_sees_nothing():
    run = make_run()
    http = client("builder", "reader", project=make_project())
    for answer, detail in (
        (http.post(path_of(run), FORM, format="json"), f"Run {run.run_id} not found"),
        (http.get(f"/runs/{run.run_id}/issues/index"), f"Run {run.run_id} not found"),
        (
            http.get("/project/issues/backlog", {"project_id": run.project.project_id}),
            f"Project {run.project.project_id} not found",
        ),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, detail)


def test_the_index_and_the_backlog_have_the_contracts_shapes():
    project = make_project(is_default=True)
    run = make_run(project)
    http = client()
    http.post(path_of(run), FORM, format="json")
    http.post(path_of(run, "P2"), {**FORM, "severity": "major"}, format="json")
    assert http.get(f"/runs/{run.run_id}/issues/index").json() == {
        "run_id": run.run_id,
        "issues_by_key": {
            "k1": {
                "category": "test_failure",
                "severity": "major",
                "effective_severity": "major",
                "first_phase_index": 0,
                "last_phase_index": 1,
                "occurrence_count": 2,
                "seen_in_tiers": ["T1"],
                "seen_in_phases": ["P1", "P2"],
            }
        },
    }
    body = http.get("/project/issues/backlog").json()
    moment = BacklogEntry.objects.get().last_seen_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert body == {
        "project_id": project.project_id,
        "issues_by_key": {
            "k1": {
                "category": "test_failure",
                "base_severity": "major",
                "age_in_runs": 0,
                "age_in_tiers": 0,
                "first_seen_run_id": run.run_id,
                "last_seen_run_id": run.run_id,
                "last_seen_at": moment,
                "seen_in_tiers": ["T1"],
                "status": "open",
            }
        },
    }


def test_no_default_project_is_422():
    make_project()
    answer = client().get("/project/issues/backlog")
    assert (answer.status_code, answer.json()["code"]) == (422, "no-project")


def test_reading_costs_the_same_statements_for_one_issue_and_for_1000():
    costs = []
    for size in (1, 1000):
        run = make_run()
        reports = [report(f"k{index:04}") for index in range(size)]
        DatabaseLedger().record(run.phases.get(phase_id="P1").pk, reports, reporter="b")
        http = client("reader")
        for path in (
            f"/runs/{run.run_id}/issues/index",
            f"/project/issues/backlog?project_id={run.project.project_id}",
        ):
            with CaptureQueriesContext(connection) as captured:
                body = http.get(path).json()
            costs.append(len(captured))
            assert list(body["issues_by_key"]) == [f"k{index:04}" for index in range(size)]
    assert costs[:2] == costs[2:]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_long_backlog_is_sent_a_page_at_a_time_and_reads_the_same(
    size: int, monkeypatch: pytest.MonkeyPatch
):
    run = make_run()
    keys = ["a", "b'\"\\", "é", "z\u2028", "{}"]
    DatabaseLedger().record(run.phases.get(phase_id="P1").pk, [report(key) for key in keys], reporter="b")
    path = f"/project/issues/backlog?project_id={run.project.project_id}"
    whole = client().get(path)
    monkeypatch.setattr(views, "PAGE", size)
    paged = client().get(path)
    assert (paged.streaming, paged["Content-Type"]) == (True, whole["Content-Type"])
    assert paged.getvalue() == whole.content
    assert set(whole.json()["issues_by_key"]) == set(keys)
