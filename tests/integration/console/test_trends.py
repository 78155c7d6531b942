"""Trends: the database's sums a day, at a constant cost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from tests.factories import make_project, make_run
from tests.integration.console.many import seed
from tests.integration.console.rows import make_attempt, make_gate

pytestmark = pytest.mark.django_db


def numbers(client: Client, query: str = "") -> dict[str, dict[str, tuple[str, ...]]]:
    """Return each chart's table: title -> day -> numbers."""
    charts = client.get(f"/admin/board/trends/?{query}").context["trends"].charts
    return {chart.title: {row[0]: row[1:] for row in chart.table} for chart in charts}


def test_runs_tokens_and_issues_are_summed_by_the_day_on_which_runs_started(operator: Client) -> None:
    now = clock.now()
    make_run(state="DONE_SUCCESS", completed_at=now, created_at=now, tokens_used=1000, minor_issues_count=2)
    make_run(
        state="DONE_FAILED_GATE", completed_at=now, created_at=now, tokens_used=500, major_issues_count=1
    )
    make_run(created_at=now - timedelta(days=3), tokens_used=7)
    found = numbers(operator)
    today, then = f"{now:%m-%d}", f"{now - timedelta(days=3):%m-%d}"
    assert found["Runs"][today] == ("1", "1", "0")
    assert found["Tokens"][today] == ("1,500",)
    assert found["Issues"][today] == ("2", "1")
    assert found["Runs"][then] == ("0", "0", "1")
    assert found["Tokens"][then] == ("7",)
    assert len(found["Runs"]) == 30


def test_gates_show_their_median_and_their_slowest(operator: Client) -> None:
    now = clock.now()
    for seconds in (2, 4, 60):
        make_gate(make_attempt(), created_at=now, started_at=now - timedelta(seconds=seconds), ended_at=now)
    days = numbers(operator)["Gate duration"]
    assert list(days) == [f"{now:%m-%d}"]  # a day without a gate has no duration, not a duration of nothing
    median, most = days[f"{now:%m-%d}"]
    assert median == "4 s"
    assert most == "54.4 s"


def test_a_project_and_a_span_may_be_chosen(operator: Client) -> None:
    now = clock.now()
    one, other = make_project("one"), make_project("other")
    make_run(one, tokens_used=5, created_at=now)
    make_run(other, tokens_used=70, created_at=now)
    make_run(one, tokens_used=5, created_at=now - timedelta(days=20))
    assert sum(int(row[0]) for row in numbers(operator, "project=one")["Tokens"].values()) == 10
    assert sum(int(row[0]) for row in numbers(operator, "project=one&days=7")["Tokens"].values()) == 5
    assert numbers(operator, "project=none")["Tokens"] == {}


@pytest.mark.parametrize("query", ["days=x", "days=99999", "project=%00"])
def test_an_address_that_makes_no_sense_is_no_error(operator: Client, query: str) -> None:
    assert operator.get(f"/admin/board/trends/?{query}").status_code == 200


def test_thousands_of_runs_cost_as_many_statements_as_ten(operator: Client) -> None:
    costs = []
    for count in (10, 3000):
        seed(count)
        operator.get("/admin/board/trends/?days=90")
        with CaptureQueriesContext(connection) as captured:
            operator.get("/admin/board/trends/?days=90")
        costs.append(len(captured))
    assert costs[0] == costs[1] <= 6
