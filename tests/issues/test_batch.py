"""Many reports in one call: in order, all or nothing, at the statements of one."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel.prepared import Prepared
from issues import batch, services
from issues.models import BacklogEntry, Issue
from runs.errors import PhaseNotFound
from runs.models import Phase
from tests.factories import make_run
from tests.issues.http import FORM, client, phase_path
from tests.issues.reports import counts, report

pytestmark = [pytest.mark.django_db, pytest.mark.urls("issues.api.urls")]


def rows(count: int, **fields) -> list[dict]:
    return [{**FORM, "issue_key": f"k{number}", **fields} for number in range(count)]


def test_each_report_is_answered_in_order_in_the_shapes_of_one():
    run = make_run()
    http = client()
    alone = http.post(phase_path(make_run(), "record_issue"), FORM, format="json").json()
    sent = [{**FORM, "issue_key": key} for key in ("b", "a", "b")]
    body = http.post(phase_path(run, "record_issues"), {"issues": sent}, format="json").json()
    assert body["message"] == "3 issues recorded"
    assert [one["message"] for one in body["recorded"]] == [
        f"Issue {key} recorded" for key in ("b", "a", "b")
    ]
    for key, one in zip(("b", "a", "b"), body["recorded"], strict=True):
        assert set(one) == set(alone)
        assert {name: set(one[name]) for name in one if name != "message"} == {
            name: set(alone[name]) for name in alone if name != "message"
        }
        [issue] = one["phase_file"]["issues"]
        assert issue["issue_key"] == key
        assert one["phase_file"]["minor_issue_count"] == 2
    assert [one["run_index_entry"]["occurrence_count"] for one in body["recorded"]] == [2, 1, 2]


def test_a_thousand_reports_are_taken_and_one_more_is_not():
    run = make_run(max_minor_issues_total=5000)
    http = client()
    body = http.post(phase_path(run, "record_issues"), {"issues": rows(1000)}, format="json").json()
    assert len(body["recorded"]) == Issue.objects.count() == BacklogEntry.objects.count() == 1000
    assert counts(run) == (1000, 0)
    answer = http.post(phase_path(run, "record_issues"), {"issues": rows(1001)}, format="json")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "issues"]


def test_one_report_that_breaks_a_rule_is_named_by_its_index_and_none_is_recorded():
    run = make_run()
    sent = rows(4)
    sent[1]["severity"], sent[3]["category"] = "fatal", None
    answer = client().post(phase_path(run, "record_issues"), {"issues": sent}, format="json")
    assert answer.status_code == 422
    assert [row["loc"] for row in answer.json()["detail"]] == [
        ["body", "issues", 1, "severity"],
        ["body", "issues", 3, "category"],
    ]
    assert not Issue.objects.exists()


@pytest.mark.parametrize(
    ("body", "loc"),
    [({}, ["body", "issues"]), ([], ["body"]), ({"issues": {}}, ["body", "issues"]),
     ({"issues": ["k"]}, ["body", "issues", 0])],
)  # fmt: skip
def test_a_body_of_another_form_is_422(body, loc):
    answer = client().post(phase_path(make_run(), "record_issues"), body, format="json")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == loc


def test_no_report_at_all_records_nothing():
    run = make_run()
    answer = client().post(phase_path(run, "record_issues"), {"issues": []}, format="json")
    assert answer.json() == {"message": "0 issues recorded", "recorded": []}
    lost = client(name="other").post(phase_path(run, "record_issues", "P9"), {"issues": []}, format="json")
    assert (lost.status_code, lost.json()["detail"]) == (404, f"Phase P9 not found in run {run.run_id}")


def statements(phase: Phase, count: int) -> int:
    with CaptureQueriesContext(connection) as captured:
        batch.record_batch(phase.pk, [report(f"s{number}") for number in range(count)], reporter="b")
    return len(captured)


def test_a_batch_takes_as_many_statements_as_one_report():
    phases = [make_run(max_minor_issues_total=5000).phases.earliest("phase_index") for _ in range(4)]
    statements(phases[0], 1)
    assert statements(phases[1], 1) == statements(phases[2], 70) == statements(phases[3], 400)


def test_batches_of_every_size_share_a_few_statements():
    phase = make_run().phases.earliest("phase_index")
    asked = Prepared[Issue](lambda pk, keys: Issue.objects.filter(phase=pk, issue_key__in=keys))
    services.record_reports(phase.pk, [report(f"s{number}") for number in range(9)], reporter="b")
    for size in range(1, 66):
        found = asked(phase.pk, [f"s{number}" for number in range(size)])
        assert {issue.issue_key for issue in found} == {f"s{number}" for number in range(min(size, 9))}
        assert len(found) == min(size, 9)
    assert len(asked._compiled) == 8


def test_a_batch_that_fails_half_way_leaves_no_row(monkeypatch):
    run = make_run()
    phase = run.phases.earliest("phase_index")
    monkeypatch.setattr(services, "note_issue_counts", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        batch.record_batch(phase.pk, [report("a"), report("b")], reporter="b")
    assert not Issue.objects.exists()
    assert not BacklogEntry.objects.exists()


def test_an_import_in_several_parts_is_all_or_nothing(monkeypatch):
    monkeypatch.setattr(batch, "MAX_REPORTS", 2)
    phase = make_run().phases.earliest("phase_index")
    done = batch.import_reports(phase.pk, [report(key) for key in "abcda"], reporter="b")
    assert (done.reports, done.issues, done.minor_issue_count, done.issue_state) == (
        5,
        4,
        4,
        "has_minor_issues",
    )
    with pytest.raises(PhaseNotFound):
        batch.import_reports(0, [report("e")], reporter="b")
    real, calls = services.record_read, []

    def second_fails(*args, **kwargs):
        calls.append(args)
        return real(*args, **kwargs) if len(calls) == 1 else 1 / 0

    monkeypatch.setattr(services, "record_read", second_fails)
    with pytest.raises(ZeroDivisionError):
        batch.import_reports(phase.pk, [report(key) for key in "vwxyz"], reporter="b")
    assert Issue.objects.count() == 4


def test_all_of_an_import_is_read_before_the_first_lock_is_taken(monkeypatch):
    """What is long in the reading would keep every other run of the project waiting."""
    monkeypatch.setattr(batch, "MAX_REPORTS", 2)
    phase = make_run().phases.earliest("phase_index")
    order = []
    real_names, real_lock = services.names_of, services.lock_backlog

    def names_of(one):
        order.append("read")
        return real_names(one)

    def lock_backlog(pk):
        order.append("lock")
        return real_lock(pk)

    monkeypatch.setattr(services, "names_of", names_of)
    monkeypatch.setattr(services, "lock_backlog", lock_backlog)
    batch.import_reports(phase.pk, [report(key) for key in "abcd"], reporter="b")
    assert order == ["read"] * 4 + ["lock"] * 2


def test_of_long_evidence_the_end_is_answered():
    phase = make_run().phases.earliest("phase_index")
    refs = tuple(f"a.py:{number}" for number in range(60))
    [shared] = batch.record_batch(phase.pk, [report(evidence_refs=refs)], reporter="b")
    assert shared.phase_file["issues"][0]["evidence_refs"] == list(refs[-batch.SHOWN_REFS :])
    assert Issue.objects.get().evidence_refs == list(refs)


@pytest.mark.django_db
def test_an_import_answers_how_many_issues_its_reports_are_and_not_how_many_keys(monkeypatch):
    monkeypatch.setattr(batch, "MAX_REPORTS", 2)
    phase = make_run().phases.get(phase_id="P1")
    leak: dict[str, Any] = {"description": "never closed", "evidence_refs": ("src/io.py:1",)}
    reports = [report("c", **leak), report("x"), report("b", **leak), report("y"), report("a", **leak)]
    done = batch.import_reports(phase.pk, reports, reporter="b")
    assert (done.reports, done.issues, done.minor_issue_count) == (5, 3, 3)
