"""record_issue in both forms, the run's index, the project's backlog."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.contract.conftest import plan
from tests.contract.served import Api
from tests.contract.shapes import BACKLOG, INDEX, RECORDED, faults

Form = dict[str, Any]
pytestmark = pytest.mark.real
FORM = {"issue_key": "k1", "severity": "minor", "source": "probe", "category": "style"}


@pytest.fixture
def form(started: str) -> Form:
    """A report with required fields alone, of a key that no other run has seen: keys age from run to run."""
    return {**FORM, "issue_key": f"k-{started}"}


def path_of(run_id: str, form: Form | None = None) -> str:
    return f"/runs/{run_id}/phases/p1/record_issue" + (f"?{urlencode(form)}" if form else "")


def test_query_parameters_with_a_bare_list_record_an_issue(builder: Api, started: str, form: Form):
    form = {**form, "task_category": "docs", "complexity": "low"}
    answer = builder.post(path_of(started, form), ["a.py:1", "b.py:2"])
    assert answer.status == 200, answer.raw
    assert not faults(answer.body, RECORDED)
    assert answer.body["message"] == f"Issue {form['issue_key']} recorded"
    [issue] = answer.body["phase_file"]["issues"]
    assert issue["evidence_refs"] == ["a.py:1", "b.py:2"]
    assert (issue["task_category"], issue["complexity"]) == ("docs", "low")


def test_query_parameters_alone_record_an_issue(builder: Api, started: str, form: Form):
    answer = builder.post(path_of(started, form))
    assert answer.status == 200, answer.raw
    assert answer.body["phase_file"]["issues"][0]["evidence_refs"] == []


def test_one_object_records_an_issue(builder: Api, started: str, form: Form):
    body = {**form, "evidence_refs": ["x"], "description": "why", "expected_fail": False, "unknown": 1}
    answer = builder.post(path_of(started), body)
    assert answer.status == 200, answer.raw
    assert not faults(answer.body, RECORDED)
    assert answer.body["phase_file"]["issues"][0]["evidence_refs"] == ["x"]


def test_the_answer_holds_the_entry_of_the_call_and_the_counts_of_the_phase(
    builder: Api, started: str, form: Form
):
    for number in range(3):
        answer = builder.post(path_of(started), {**form, "issue_key": f"k{number}"})
    file = answer.body["phase_file"]
    assert [issue["issue_key"] for issue in file["issues"]] == ["k2"]
    assert (file["minor_issue_count"], file["major_issue_count"], file["issue_state"]) == (
        3,
        0,
        "has_minor_issues",
    )


def test_a_key_seen_again_is_one_issue_with_two_occurrences(
    builder: Api, reader: Api, started: str, form: Form
):
    for _ in range(2):
        answer = builder.post(path_of(started), {**form, "severity": "major"})
    assert answer.body["phase_file"]["issues"][0]["occurrence_count"] == 2
    assert answer.body["run_index_entry"]["occurrence_count"] == 2
    assert answer.body["phase_file"]["issue_state"] == "has_major_issues"
    assert reader.get(f"/runs/{started}").body["major_issues_count"] == 1


@pytest.mark.parametrize("name", ["issue_key", "severity", "source", "category"])
def test_a_required_field_that_is_missing_is_422_in_both_forms(
    builder: Api, started: str, name: str, form: Form
):
    form = {key: value for key, value in form.items() if key != name}
    for answer, place in (
        (builder.post(path_of(started, form), []), "query"),
        (builder.post(path_of(started), {**form, "evidence_refs": []}), "body"),
    ):
        assert answer.status == 422
        assert [row["loc"] for row in answer.body["detail"]] == [[place, name]]


@pytest.mark.parametrize("source", ["probe", "test", "ci", "static_check", "cursor_self_doubt", "self_doubt",
                                    "builder", "auditor", "anything-else"])  # fmt: skip
def test_a_source_is_stored_as_it_was_sent(builder: Api, started: str, source: str, form: Form):
    answer = builder.post(path_of(started), {**form, "source": source})
    assert answer.body["phase_file"]["issues"][0]["source"] == source


@pytest.mark.parametrize(
    "body", [{**FORM, "severity": "fatal"}, {**FORM, "evidence_refs": "x"}, b'"text"', b"7"]
)
def test_what_is_no_report_is_422(builder: Api, started: str, body: Any):
    assert builder.post(path_of(started), body).status == 422


def test_an_ended_run_still_takes_reports(operator: Api, builder: Api, started: str, form: Form):
    assert operator.post(f"/runs/{started}/cancel", {}).status == 200
    assert builder.post(path_of(started), form).status == 200
    assert operator.get(f"/runs/{started}").body["minor_issues_count"] == 1


def test_the_index_of_a_run_has_the_shape_of_the_contract(
    builder: Api, reader: Api, started: str, form: Form
):
    empty = reader.get(f"/runs/{started}/issues/index")
    assert (empty.status, empty.body) == (200, {"run_id": started, "issues_by_key": {}})
    builder.post(path_of(started), form)
    builder.post(f"/runs/{started}/phases/p2/record_issue", form)
    index = reader.get(f"/runs/{started}/issues/index").body
    assert not faults(index, INDEX)
    entry = index["issues_by_key"][form["issue_key"]]
    assert (entry["first_phase_index"], entry["last_phase_index"], entry["occurrence_count"]) == (1, 2, 2)
    assert (entry["seen_in_tiers"], entry["seen_in_phases"]) == (["t1"], ["p1", "p2"])


def test_the_backlog_is_the_default_projects_unless_another_is_named(
    operator: Api, builder: Api, reader: Api, fresh_id: str
):
    assert operator.post("/runs/start", plan(fresh_id, project=None)).status == 201
    builder.post(path_of(fresh_id), FORM)
    answer = reader.get("/project/issues/backlog")
    assert answer.status == 200
    assert not faults(answer.body, BACKLOG)
    assert answer.body["project_id"] == "main"
    entry = answer.body["issues_by_key"]["k1"]
    assert (entry["first_seen_run_id"], entry["last_seen_run_id"], entry["status"]) == (
        fresh_id,
        fresh_id,
        "open",
    )
    quiet = reader.get("/project/issues/backlog?project_id=quiet").body
    assert quiet == {"project_id": "quiet", "issues_by_key": {}}
