"""Accepted until a date and resolved by hand: what moves, what holds still, and the history of both."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from autopack_site.kernel import clock
from autopack_site.kernel.errors import IllegalTransition, Invalid
from issues.decisions import accept_entry, resolve_entry
from issues.errors import BacklogEntryNotFound
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogEvent, Issue
from issues.shapes import backlog_in_key_order
from issues.sweeps import sweep_backlogs
from runs.models import Outbox, Run
from strategy.models import Project
from tests.factories import make_project, make_run, pass_gate
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()
WHY = "known, fixed in the next release"


@pytest.fixture
def project() -> Project:
    return make_project()


def entry() -> BacklogEntry:
    return BacklogEntry.objects.get()


def seen(project: Project) -> Run:
    run = make_run(project)
    ledger.record(run.phases.get(phase_id="P1").pk, [report()], reporter="b")
    return run


def accept(days: float = 1.0, **fields: Any) -> BacklogEntry:
    until = clock.now() + timedelta(days=days)
    return accept_entry(entry().pk, **{"until": until, "by": "ann", "why": WHY, **fields})


def pass_by(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    later = clock.now() + timedelta(days=days)
    monkeypatch.setattr(clock, "now", lambda: later)


def history() -> list[tuple[str, str, str, str]]:
    return list(BacklogEvent.objects.order_by("id").values_list("event", "from_status", "to_status", "who"))


def test_an_acceptance_is_told_with_who_why_and_until(project: Project) -> None:
    seen(project)
    accepted = accept()
    event = BacklogEvent.objects.get(event="accepted")
    assert (event.from_status, event.to_status, event.who, event.why) == ("open", "accepted", "ann", WHY)
    assert event.until == accepted.accepted_until == entry().accepted_until
    assert history()[0] == ("opened", "", "open", "b")


def test_the_backlog_file_and_route_show_it_as_accepted(project: Project) -> None:
    seen(project)
    Outbox.objects.all().delete()
    accept()
    (page,) = backlog_in_key_order(project)
    assert page["test:login"]["status"] == "accepted"
    assert Outbox.objects.get().topic == "artefacts.write"


def test_neither_runs_nor_tiers_nor_sweeps_age_what_is_accepted(project: Project) -> None:
    run = seen(project)
    accept()
    for number in range(5):
        ledger.begin_run(f"r{number}", project.pk)
    ledger.begin_tier(run.run_id, "T1")
    sweep_backlogs()
    assert (entry().age_in_runs, entry().age_in_tiers, entry().status) == (0, 0, "accepted")


def test_the_strategy_is_not_told_of_what_is_accepted(project: Project) -> None:
    seen(project)
    assert len(ledger.backlog(project.pk)) == 1
    accept()
    assert ledger.backlog(project.pk) == []


def test_a_report_is_kept_and_counts_as_it_was_reported(project: Project) -> None:
    seen(project)
    for number in range(3):
        ledger.begin_run(f"r{number}", project.pk)
    assert entry().status == "needs_cleanup"
    accept()
    run = seen(project)
    assert Issue.objects.get(phase__run=run).effective_severity == "minor"
    assert (entry().status, entry().occurrence_count) == ("accepted", 2)


def test_a_run_that_covers_it_does_not_resolve_what_is_accepted(project: Project) -> None:
    seen(project)
    accept()
    run = make_run(project)
    pass_gate(run.phases.get(phase_id="P1"))
    Run.objects.filter(pk=run.pk).update(state="DONE_SUCCESS", completed_at=clock.now())
    ledger.end_run(run.run_id)
    assert entry().status == "accepted"


def test_the_sweep_opens_it_again_after_the_date(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(project)
    until = accept(days=1).accepted_until
    assert sweep_backlogs() == 0
    pass_by(monkeypatch, days=2)
    assert sweep_backlogs() == 1
    assert (entry().status, entry().accepted_until, entry().opened_at) == ("open", None, until)
    assert history()[-1] == ("lapsed", "accepted", "open", "autopack")
    assert sweep_backlogs() == 0


def test_a_run_that_starts_after_the_date_opens_and_ages_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(project)
    accept(days=1)
    pass_by(monkeypatch, days=2)
    ledger.begin_run("late", project.pk)
    assert (entry().status, entry().age_in_runs) == ("open", 1)
    assert len(ledger.backlog(project.pk)) == 1


def test_runs_begun_while_it_was_accepted_do_not_age_it_afterwards(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(project)
    accept(days=1)
    make_run(project)  # without an aging row: the sweep will look for such runs
    pass_by(monkeypatch, days=2)
    sweep_backlogs()
    assert (entry().status, entry().age_in_runs) == ("open", 0)


def test_what_has_aged_before_is_marked_again_when_the_acceptance_ends(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(project)
    BacklogEntry.objects.update(runs_offset=3)
    accept(days=1)
    pass_by(monkeypatch, days=2)
    sweep_backlogs()
    assert [event for event, *_ in history()] == ["opened", "accepted", "lapsed", "aged"]


def test_accepting_again_moves_the_date(project: Project) -> None:
    seen(project)
    first = accept(days=1).accepted_until
    second = accept(days=9).accepted_until
    assert first is not None
    assert second is not None
    assert second > first
    assert history()[-1] == ("accepted", "accepted", "accepted", "ann")


def test_what_was_resolved_by_hand_is_reopened_by_a_report(project: Project) -> None:
    seen(project)
    resolve_entry(entry().pk, by="ann", why="the test is gone")
    assert entry().status == "resolved"
    seen(project)
    assert [row[:3] for row in history()] == [
        ("opened", "", "open"),
        ("resolved", "open", "resolved"),
        ("reopened", "resolved", "reopened"),
    ]
    assert BacklogEvent.objects.get(event="resolved").why == "the test is gone"


def test_what_is_accepted_can_be_resolved(project: Project) -> None:
    seen(project)
    accept()
    resolve_entry(entry().pk, by="ann", why="fixed")
    assert (entry().status, entry().accepted_until) == ("resolved", None)


@pytest.mark.parametrize("decide", [accept, lambda: resolve_entry(entry().pk, by="ann", why="again")])
def test_what_is_resolved_is_neither_accepted_nor_resolved_again(project: Project, decide: Any) -> None:
    seen(project)
    resolve_entry(entry().pk, by="ann", why="fixed")
    with pytest.raises(IllegalTransition) as caught:
        decide()
    assert caught.value.status == 409
    assert len(history()) == 2


@pytest.mark.parametrize("fields", [{"why": " \n"}, {"days": -0.1}])
def test_a_decision_without_a_reason_or_a_future_is_refused(project: Project, fields: dict[str, Any]) -> None:
    seen(project)
    with pytest.raises(Invalid):
        accept(**fields)
    assert entry().status == "open"


def test_an_unknown_entry_is_not_found() -> None:
    with pytest.raises(BacklogEntryNotFound):
        resolve_entry(7, by="ann", why="fixed")


@pytest.mark.parametrize("fields", [{"status": "accepted"}, {"accepted_until": clock.now()}])
def test_the_database_knows_until_when_exactly_what_is_accepted(
    project: Project, fields: dict[str, Any]
) -> None:
    seen(project)
    with pytest.raises(IntegrityError, match="backlog_accepted_until_a_date"), transaction.atomic():
        BacklogEntry.objects.update(**fields)
