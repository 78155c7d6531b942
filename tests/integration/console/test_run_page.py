"""The pages of a run: what they tell, what they cost, and that a cancelling is asked for, recorded or refused."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any, cast

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.content_security import STRICT
from autopack_site.kernel import clock
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, RunIndexEntry
from runs import services
from runs.models import Run, TokenEntry, Transition
from tests.factories import make_run
from tests.integration.console.rows import make_attempt, make_gate
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
HOSTILE = "<script>document.title='x'</script>\u202e\x1b[31m"
SEEN = "&lt;script&gt;document.title=&#x27;x&#x27;&lt;/script&gt;"


def text(page: str) -> str:
    """Return a page's words, spaces folded."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def words(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content[:500]
    return text(answer.content.decode())


def worked_run(run_id: str = "r1", *, phases: int = 2, attempts: int = 1) -> Run:
    """Write a run whose phases each have attempts, gates, ledger lines, issues and events."""
    run = make_run(run_id=run_id, tiers=2, phases_per_tier=phases)
    now = clock.now()
    for phase in run.phases.all():
        for _ in range(attempts):
            attempt = make_attempt(phase, state="RED", failure_code="gate-red")
            make_gate(attempt, verdict="red", reason="2 tests fail")
            TokenEntry.objects.create(run=run, tier=phase.tier, phase=phase, attempt=attempt, kind="settle",
                                      envelope="build", tokens=500, usage_source="reported", at=now)  # fmt: skip
        DatabaseLedger().record(phase.pk, [report(f"key-{phase.phase_id}")], reporter="b")
        Transition.objects.create(run=run, machine="phase", subject=phase.phase_id, from_state="QUEUED",
                                  to_state="EXECUTING", event="claimed", who="b", version=1, at=now)  # fmt: skip
    return run


def test_the_page_tells_tiers_phases_attempts_gates_issues_and_events(operator: Client) -> None:
    worked_run()
    page = words(operator, "/admin/board/runs/r1/")
    assert "Tier T1: Tier T1 pending clean" in page
    assert "build 1 red gate red gate-red" in page
    assert "key-P1" in page
    assert "phase P1 claimed QUEUED → executing by b" in page


def test_the_page_tells_why_a_run_may_not_be_promoted(operator: Client) -> None:
    make_run(run_id="r1", state="DONE_FAILED_GATE", completed_at=clock.now(), tokens_used=9, token_cap=5)
    page = words(operator, "/admin/board/runs/r1/")
    assert "may not be promoted not-successful the run is DONE_FAILED_GATE" in page
    assert "budget-failure 9 of 5 tokens are used" in page


def test_the_page_of_a_failed_run_says_what_to_do_next_and_links_the_report(operator: Client) -> None:
    make_run(run_id="r1", state="DONE_FAILED_GATE", completed_at=clock.now())
    page = operator.get("/admin/board/runs/r1/").content.decode()
    assert 'href="/admin/board/runs/r1/files/incident/incident.md"' in page
    assert "Apply the patch that it names to the base commit" in text(page)
    assert operator.get("/admin/board/runs/r1/files/incident/incident.md").status_code == 200
    make_run(run_id="r2", state="DONE_SUCCESS", completed_at=clock.now())
    assert "What to do next" not in words(operator, "/admin/board/runs/r2/")


def test_an_issue_leads_to_its_entry_in_the_backlog(operator: Client) -> None:
    run = worked_run(phases=1)
    entry = BacklogEntry.without_ages.get(project=run.project_id, issue_key="key-P1")
    BacklogEntry.without_ages.filter(issue_key="key-P2").update(issue_key="known by another key")
    row = RunIndexEntry.objects.get(run=run, issue_key="key-P2")
    page = operator.get("/admin/board/runs/r1/").content.decode()
    assert f'href="/admin/issues/backlogentry/{entry.pk}/change/"' in page
    assert f'href="/admin/issues/runindexentry/{row.pk}/change/"' in page


def test_the_page_tells_that_a_run_may_be_promoted(operator: Client) -> None:
    make_run(run_id="r1", state="DONE_SUCCESS", completed_at=clock.now())
    assert "Promotion may be promoted Successful" in words(operator, "/admin/board/runs/r1/")


def test_what_an_ended_run_shows_is_no_longer_fetched(operator: Client) -> None:
    make_run(run_id="live")
    make_run(run_id="over", state="DONE_SUCCESS", completed_at=clock.now())
    assert "data-ended" not in operator.get("/admin/board/runs/live/live/").content.decode()
    assert "data-ended" in operator.get("/admin/board/runs/over/live/").content.decode()


def test_names_reasons_and_events_of_strangers_are_text(operator: Client) -> None:
    run = worked_run()
    run.phases.update(name=HOSTILE, failure_code="x", failure_reason=HOSTILE)
    run.tiers.update(name=HOSTILE)
    Run.objects.update(failure_code=HOSTILE[:60], failure_reason=HOSTILE, created_by=HOSTILE)
    Transition.objects.create(run=run, machine="run", subject=HOSTILE, from_state="a", to_state="a", event="seen",
                              who=HOSTILE, why=HOSTILE, at=clock.now())  # fmt: skip
    for path in (
        "/admin/board/",
        "/admin/board/runs/r1/",
        "/admin/board/runs/r1/events/",
        "/admin/board/runs/r1/strategy/",
    ):
        page = operator.get(path).content.decode()
        assert "<script>document" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
        assert SEEN in page, path


def test_a_large_run_costs_as_many_statements_as_a_small_one(operator: Client) -> None:
    worked_run("small", phases=1)
    worked_run("large", phases=5, attempts=2)
    operator.get("/admin/board/runs/small/")
    costs: dict[str, list[int]] = {}
    for run_id in ("small", "large"):
        for path in ("", "live/", "strategy/", "events/"):
            with CaptureQueriesContext(connection) as captured:
                assert operator.get(f"/admin/board/runs/{run_id}/{path}").status_code == 200
            costs.setdefault(path, []).append(len(captured))
    assert all(small == large <= 14 for small, large in costs.values()), costs


def test_the_page_reads_no_patch(operator: Client) -> None:
    worked_run()
    with CaptureQueriesContext(connection) as captured:
        operator.get("/admin/board/runs/r1/")
    assert not [query for query in captured if '"runs_attempt"."patch"' in query["sql"]]


def test_tokens_and_gates_are_charted_with_their_numbers(operator: Client) -> None:
    worked_run()
    page = operator.get("/admin/board/runs/r1/").context["shown"]
    tokens, gates, issues = page.charts
    assert tokens.table[-1][1:] == ("2,000", "0")
    assert len(gates.table) == 4
    assert all(row[2] == "10 s" for row in gates.table)
    assert sum(int(row[1]) + int(row[2]) for row in issues.table) == 4


def test_the_time_line_shows_when_phases_waited_and_worked(operator: Client) -> None:
    now = clock.now()
    run = make_run(
        run_id="r1", started_at=now - timedelta(seconds=100), state="DONE_SUCCESS", completed_at=now
    )
    run.phases.filter(phase_id="P1").update(
        ready_at=now - timedelta(seconds=100), started_at=now - timedelta(seconds=75),
        completed_at=now - timedelta(seconds=25), state="COMPLETE", commit_sha="c" * 40,
    )  # fmt: skip
    (span,) = operator.get("/admin/board/runs/r1/").context["shown"].timeline.spans
    assert (span.wait_x, span.wait_width, span.tone) == (180.0, 195.0, "good")
    assert (span.work_x, span.work_width) == (375.0, 390.0)


def test_events_come_in_pages(operator: Client) -> None:
    run = make_run(run_id="r1")
    Transition.objects.bulk_create(
        Transition(run=run, machine="run", subject="r1", from_state="a", to_state="a", event=f"event-{n}", who="w",
                   at=clock.now())
        for n in range(150)
    )  # fmt: skip
    first = operator.get("/admin/board/runs/r1/events/")
    second = operator.get(f"/admin/board/runs/r1/events/?before={first.context['next_before']}")
    names = [event.event for event in (*first.context["events"], *second.context["events"])]
    assert names == [f"event-{n}" for n in reversed(range(150))]
    assert second.context["next_before"] is None


@pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "%00"])
def test_a_place_that_is_none_is_the_newest(operator: Client, before: str) -> None:
    make_run(run_id="r1")
    assert operator.get(f"/admin/board/runs/r1/events/?before={before}").status_code == 200


def test_the_strategy_is_shown_with_the_rule_behind_each_value(operator: Client) -> None:
    make_run(run_id="r1", task_category="docs")
    page = words(operator, "/admin/board/runs/r1/strategy/")
    assert "run_token_cap 5000000 ruleset version 1: run_token_cap" in page
    assert "run_max_phases 1000 asked for when the run was started" in page
    assert "incident_token_cap 200000 ruleset version 1: category_defaults.docs" in page


def test_the_files_are_listed_and_sent_as_plain_text(operator: Client) -> None:
    make_run(run_id="r1")
    assert "run_summary.md" in words(operator, "/admin/board/runs/r1/files/")
    answer = operator.get("/admin/board/runs/r1/files/tiers/tier_00_T1.md")
    assert answer.content.startswith(b"# Tier")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("name", ["none.md", "../r1/run_summary.md", "..%2f..%2fetc%2fpasswd", "%00"])
def test_a_file_that_is_none_of_the_runs_is_not_found(operator: Client, name: str) -> None:
    make_run(run_id="r1")
    assert operator.get(f"/admin/board/runs/r1/files/{name}").status_code == 404


@pytest.mark.parametrize("run_id", ["none", "%00", "%2e%2e"])
def test_a_run_that_is_not_there_is_not_found(operator: Client, run_id: str) -> None:
    for path in ("", "live/", "events/", "strategy/", "files/", "cancel/"):
        assert operator.get(f"/admin/board/runs/{run_id}/{path}").status_code == 404


def test_every_page_of_a_run_has_the_strict_policy_and_is_kept_by_no_cache(operator: Client) -> None:
    make_run(run_id="r1")
    for path in ("", "live/", "events/", "strategy/", "files/", "cancel/"):
        answer = operator.get(f"/admin/board/runs/r1/{path}")
        assert answer["Content-Security-Policy"] == STRICT
        assert "no-store" in answer["Cache-Control"]


def test_cancelling_is_asked_for_first(operator: Client) -> None:
    make_run(run_id="r1")
    assert "Cancelling ends it for good" in words(operator, "/admin/board/runs/r1/cancel/")
    assert Run.objects.get().state == "PHASE_QUEUEING"


def test_a_cancelled_run_tells_who_and_why(operator: Client) -> None:
    make_run(run_id="r1")
    answer = operator.post("/admin/board/runs/r1/cancel/", {"why": " wrong\nplan "}, follow=True)
    assert "Run r1 is cancelled" in answer.content.decode()
    last = Transition.objects.get(machine="run", to_state="DONE_CANCELLED")
    assert (last.who, last.why) == ("operator", "wrong plan")
    trail = LogEntry.objects.get()
    assert (trail.user.get_username(), trail.object_id) == ("operator", "r1")
    assert "wrong plan" in trail.get_change_message()


def test_a_cancelling_without_a_reason_is_refused(operator: Client) -> None:
    make_run(run_id="r1")
    answer = operator.post("/admin/board/runs/r1/cancel/", {"why": "  "})
    assert "Say why" in answer.content.decode()
    assert Run.objects.get().state == "PHASE_QUEUEING"


def test_a_run_that_has_ended_is_not_cancelled_and_the_page_says_why(operator: Client) -> None:
    make_run(run_id="r1")
    services.cancel_run("r1", by="somebody", why="before")
    answer = operator.post("/admin/board/runs/r1/cancel/", {"why": "again"}, follow=True)
    assert "Not cancelled: Run r1 has ended: DONE_CANCELLED (run-ended)" in answer.content.decode()
    assert not LogEntry.objects.exists()


def test_who_may_only_look_can_not_cancel(viewer: Client) -> None:
    make_run(run_id="r1")
    assert "Cancel run" not in words(viewer, "/admin/board/runs/r1/")
    assert viewer.get("/admin/board/runs/r1/cancel/").status_code == 403
    assert viewer.post("/admin/board/runs/r1/cancel/", {"why": "x"}).status_code == 403
    assert Run.objects.get().state == "PHASE_QUEUEING"


def test_a_forged_request_cancels_nothing(operator: Client) -> None:
    make_run(run_id="r1")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post("/admin/board/runs/r1/cancel/", {"why": "x"}).status_code == 403
    assert Run.objects.get().state == "PHASE_QUEUEING"


def test_a_rows_own_page_in_the_admin_leads_to_the_page_of_the_run(operator: Client) -> None:
    attempt = make_attempt()
    run: Any = attempt.run  # the settings give both models their address
    assert run.get_absolute_url() == f"/admin/board/runs/{attempt.run_id}/"
    assert cast(Any, attempt).get_absolute_url() == f"/admin/board/attempts/{attempt.pk}/"
    assert operator.get(run.get_absolute_url()).status_code == 200
