"""The reports that count issues: bounds, refusals, and what they cost."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry
from issues.reports import MAX_CLEANUP, backlog_summary
from runs.models import Run
from runs.tokens import create_token
from tests.factories import make_project, make_run
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()


def reader(project=None) -> APIClient:
    http = APIClient()
    http.credentials(HTTP_AUTHORIZATION=f"Bearer {create_token('reader', roles=['reader'], project=project)}")
    return http


def record(run: Run, count: int) -> None:
    phase = run.phases.earliest("phase_index")
    ledger.record(phase.pk, [report(f"k{number}") for number in range(count)], reporter="tests")


@pytest.mark.parametrize("path", ["/reports/issue_backlog_summary", "/reports/run_summary/{run}"])
def test_a_report_on_issues_takes_the_same_number_of_queries_at_any_size(path: str):
    project = make_project(is_default=True)
    http, counts = reader(), []
    http.get("/reports/run_summary/none")  # the token's last use is written once
    for tiers, issues in ((1, 3), (8, 200)):
        run = make_run(project, tiers=tiers)
        record(run, issues)
        with CaptureQueriesContext(connection) as queries:
            assert http.get(path.format(run=run.run_id)).status_code == 200
        counts.append(len(queries))
    assert counts in ([5, 5], [6, 6])


def test_without_a_project_named_the_default_one_is_meant():
    record(make_run(make_project("main", is_default=True)), 2)
    record(make_run(make_project("side")), 3)
    http = reader()
    assert http.get("/reports/issue_backlog_summary").json()["total_issues"] == 2
    assert http.get("/reports/issue_backlog_summary?project_id=side").json()["total_issues"] == 3


def test_without_a_default_project_none_is_meant():
    answer = reader().get("/reports/issue_backlog_summary")
    assert (answer.status_code, answer.json()["code"]) == (422, "no-project")


def test_the_backlog_of_another_project_than_the_tokens_is_not_found():
    make_project("main", is_default=True)
    http = reader(make_project("side"))
    answers = [http.get(f"/reports/issue_backlog_summary?project_id={name}") for name in ("main", "none")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["detail"] == answers[1].json()["detail"].replace("none", "main")


def test_a_token_of_one_project_means_its_own():
    make_project("main", is_default=True)
    side = make_project("side")
    record(make_run(side), 1)
    assert reader(side).get("/reports/issue_backlog_summary").json()["total_issues"] == 1


def test_an_empty_backlog_is_all_zeros():
    make_project(is_default=True)
    assert reader().get("/reports/issue_backlog_summary").json() == {
        "total_issues": 0,
        "open_count": 0,
        "needs_cleanup_count": 0,
        "resolved_count": 0,
        "top_aging_issues": [],
        "needs_cleanup": [],
    }


def test_the_lists_of_a_backlog_are_bounded_and_its_counts_are_not():
    run = make_run(max_minor_issues_total=10_000)
    record(run, MAX_CLEANUP + 1)
    BacklogEntry.objects.update(status="needs_cleanup", effective_severity="major")
    figures = backlog_summary(run.project)
    assert figures["needs_cleanup_count"] == MAX_CLEANUP + 1
    assert (len(figures["needs_cleanup"]), len(figures["top_aging_issues"])) == (MAX_CLEANUP, 10)


def test_the_summary_of_an_absent_run_and_of_another_projects_is_not_found():
    make_run(run_id="r1")
    for http, run_id in ((reader(), "nowhere"), (reader(make_project()), "r1")):
        answer = http.get(f"/reports/run_summary/{run_id}")
        assert (answer.status_code, answer.json()["detail"]) == (404, f"Run {run_id} not found")


@pytest.mark.parametrize("path", ["/reports/issue_backlog_summary", "/reports/run_summary/r1"])
def test_a_report_on_issues_needs_a_token(path: str):
    assert APIClient().get(path).status_code == 401
