"""The run board: what it tells of each run, its filters, and what it costs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from tests.factories import make_project, make_run
from tests.integration.console.many import seed

pytestmark = pytest.mark.django_db


def cost(operator: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert operator.get(path).status_code == 200
    return len(captured)


def cells(page: str, run_id: str) -> str:
    """Return the text of a run's row, spaces folded."""
    row = re.search(
        rf'<tr>\s*<th scope="row"[^>]*><a href="/admin/board/runs/{run_id}/".*?</tr>', page, re.DOTALL
    )
    assert row is not None
    return " ".join(re.sub(r"<[^>]+>", " ", row[0]).split())


def test_a_row_tells_state_phase_tiers_budgets_issues_and_age(operator: Client) -> None:
    run = make_run(tiers=2, phases_per_tier=2, run_id="told", tokens_used=1234, token_cap=5000, ci_runs_used=3,
                   minor_issues_count=2, major_issues_count=1, max_duration_minutes=90,
                   state="CI_RUNNING", created_at=clock.now() - timedelta(hours=3))  # fmt: skip
    run.phases.filter(phase_id="P1").update(state="COMPLETE", commit_sha="c" * 40)
    run.phases.filter(phase_id="P3").update(state="EXECUTING")
    run.phases.filter(phase_id="P4").update(state="CI_RUNNING", name="Write <b>it</b>")
    run.tiers.filter(tier_id="T1").update(cleanliness="not_clean")
    row = cells(operator.get("/admin/board/").content.decode(), "told")
    assert "ci running P4 ci running Write &lt;b&gt;it&lt;/b&gt; 1 of 4 ended" in row
    assert "1 of 2 not clean" in row
    assert "Tokens 1,234 of 5,000" in row
    assert "Gates 3 of 8" in row
    assert "Minutes 0 of 90" in row
    assert "1 major 2 minor 3 h 00 min" in row


def test_without_a_live_phase_the_next_queued_one_is_shown(operator: Client) -> None:
    make_run(run_id="waits", phases_per_tier=2)
    assert "P1 queued" in cells(operator.get("/admin/board/").content.decode(), "waits")


def test_an_ended_run_shows_no_phase_and_how_long_it_took(operator: Client) -> None:
    now = clock.now()
    make_run(run_id="over", state="DONE_FAILED_GATE", failure_code="gate-red", completed_at=now,
             created_at=now - timedelta(minutes=42), started_at=now - timedelta(minutes=42))  # fmt: skip
    row = cells(operator.get("/admin/board/").content.decode(), "over")
    assert "failed gate gate-red 0 of 2 ended" in row
    assert "took 42 min" in row


def test_the_board_is_narrowed_by_state_project_and_part_of_the_id(operator: Client) -> None:
    one, other = make_project("one"), make_project("other")
    now = clock.now()
    make_run(one, run_id="alpha-live")
    make_run(one, run_id="alpha-done", state="DONE_SUCCESS", completed_at=now)
    make_run(other, run_id="beta-failed", state="DONE_FAILED_ENVIRONMENT", completed_at=now)

    def found(query: str) -> set[str]:
        return {row.run.pk for row in operator.get(f"/admin/board/?{query}").context["board"].rows}

    assert found("") == {"alpha-live", "alpha-done", "beta-failed"}
    assert found("state=active") == {"alpha-live"}
    assert found("state=failed") == {"beta-failed"}
    assert found("state=succeeded") == {"alpha-done"}
    assert found("project=one") == {"alpha-live", "alpha-done"}
    assert found("q=DONE") == {"alpha-done"}
    assert found("q=alpha&state=active&project=one") == {"alpha-live"}
    assert found("project=none") == set()


@pytest.mark.parametrize(
    "query", ["state=none", "page=none", "page=-3", "page=999", "q=%00", "q=%25", "project=%00"]
)
def test_an_address_that_makes_no_sense_is_no_error(operator: Client, query: str) -> None:
    make_run()
    assert operator.get(f"/admin/board/?{query}").status_code == 200
    assert operator.get(f"/admin/board/rows/?{query}").status_code == 200


def test_what_is_fetched_again_is_the_rows_alone(operator: Client) -> None:
    make_run(run_id="r1")
    page = operator.get("/admin/board/rows/?state=all").content.decode()
    assert "<html" not in page
    assert "/admin/board/runs/r1/" in page
    assert 'data-summary="1 active, 0 failed, 0 succeeded runs"' in page


def test_the_page_names_the_address_of_its_rows_with_its_filters(operator: Client) -> None:
    make_run()
    context = operator.get("/admin/board/?state=active&q=a%26b").context
    assert context["live_url"] == "/admin/board/rows/?project=&q=a%26b&state=active&page=1"


def test_10000_runs_cost_as_many_statements_as_50(operator: Client) -> None:
    seed(50)
    paths = [
        "/admin/board/",
        "/admin/board/rows/",
        "/admin/board/?page=2",
        "/admin/board/?state=active&q=bulk",
    ]
    cost(operator, paths[0])
    few = [cost(operator, path) for path in paths]
    seed(9_950)
    assert [cost(operator, path) for path in paths] == few
    assert max(few) <= 9


def test_rows_come_in_pages_of_50_newest_first(operator: Client) -> None:
    seed(60)
    first = operator.get("/admin/board/").context["board"]
    second = operator.get("/admin/board/?page=2").context["board"]
    times = [row.run.created_at for row in (*first.rows, *second.rows)]
    assert len(first.rows) == 50
    assert len(times) == 61
    assert times == sorted(times, reverse=True)
