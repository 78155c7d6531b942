"""One phase's reports make only so many known issues one: by these counts it is judged itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections

from issues.ledger import DatabaseLedger
from issues.merging import merge_entries
from issues.models import BacklogEntry, BacklogEvent
from runs.models import Run, Transition
from tests.factories import make_run
from tests.issues.reports import counts, report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()


def told(cause: str) -> dict[str, Any]:
    return {"description": f"{cause} fails", "evidence_refs": ("a.py",)}


def say(run: Run, *said: tuple[str, str], phase: str = "P1") -> None:
    """Report (key, cause) pairs of one place in one call."""
    reports = [report(key, **told(cause)) for key, cause in said]
    ledger.record(run.phases.get(phase_id=phase).pk, reports, reporter="ann")


def history(key: str, event: str) -> list[tuple[str, str]]:
    rows = BacklogEvent.objects.filter(entry__issue_key=key, event=event).order_by("pk")
    return list(rows.values_list("phase_id", "why"))


@pytest.fixture
def run() -> Run:
    """A run whose phase has seen six issues, `a` with cause `A` and so on."""
    run = make_run()
    say(run, *((key, key.upper()) for key in "abcdef"))
    return run


@pytest.fixture(autouse=True)
def two_joints(settings: Any) -> None:
    settings.MAX_JOINTS_PER_PHASE = 2


def test_beyond_its_joints_a_phase_s_reports_stay_with_their_keys(run: Run) -> None:
    say(run, ("a", "B"))
    say(run, ("a", "C"), ("a", "D"))
    say(run, ("e", "F"))
    assert counts(run) == counts(run.phases.get(phase_id="P1")) == (4, 0)
    left = {row.issue_key: row.occurrence_count for row in BacklogEntry.objects.all()}
    # the report of a with the cause of d is one more of a, e's with the cause of f one more of e
    assert left == {"a": 6, "d": 1, "e": 2, "f": 1}
    why = "reported to be one issue with {}, but its phase may make no more issues one: merge them?"
    assert history("a", "joint_refused") == [("P1", why.format("d"))]
    assert history("d", "joint_refused") == [("P1", why.format("a"))]
    assert history("f", "joint_refused") == [("P1", why.format("e"))]
    say(run, ("a", "D"))
    assert len(history("a", "joint_refused")) == 1
    rows = Transition.objects.filter(run_id=run.pk, event="joints_refused").order_by("pk")
    assert [row.data["pairs"] for row in rows] == [[["a", "d"]], [["e", "f"]]]
    # each phase has its own
    say(run, ("d", "A"), phase="P2")
    assert {row.issue_key for row in BacklogEntry.objects.all()} == {"a", "e", "f"}
    assert [phase_id for phase_id, _why in history("a", "absorbed")] == ["P1", "P1", "P2"]


def test_a_person_s_merge_of_what_was_refused_makes_it_what_it_had_been_without_the_bound(
    run: Run, settings: Any
) -> None:
    settings.MAX_JOINTS_PER_PHASE = 0
    say(run, ("a", "B"))
    assert counts(run) == (6, 0)
    first, second = BacklogEntry.objects.filter(issue_key__in=["a", "b"]).order_by("issue_key")
    merge_entries(first.pk, [second.pk], by="operator", why="the phase is right")
    say(run, ("b", "A"))
    assert counts(run) == (5, 0)
    assert BacklogEntry.objects.get(issue_key="a").occurrence_count == 4
    assert history("a", "joint_refused") != []


def test_a_joint_that_lowers_a_run_s_counts_stands_in_its_timeline_also_after_its_end(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(state="DONE_FAILED_BUDGET_EXHAUSTED", completed_at=run.created_at)
    say(run, ("a", "B"), ("c", "C"))
    row = Transition.objects.get(run_id=run.pk, event="issues_joined")
    assert (row.machine, row.who, row.to_state) == ("run", "ann", "DONE_FAILED_BUDGET_EXHAUSTED")
    of_tier = {"minor_issues": [6, 5], "major_issues": [0, 0]}
    assert row.data == {**of_tier, "tiers": {"T1": of_tier}, "joined": {"b": "a"}}
    assert counts(run) == (5, 0)
    say(run, ("a", "A"))
    assert Transition.objects.filter(event="issues_joined").count() == 1


def test_what_one_call_says_for_the_first_time_is_no_joint(run: Run, settings: Any) -> None:
    settings.MAX_JOINTS_PER_PHASE = 0
    say(run, ("x", "X"), ("y", "Y"), ("x", "Y"), ("a", "Y"))
    assert {row.issue_key for row in BacklogEntry.objects.all()} == set("abcdef")
    assert BacklogEntry.objects.get(issue_key="a").occurrence_count == 5
    # x, y and a are one now; b is known, and stays apart though it comes by way of a new name
    say(run, ("z", "Z"), ("z", "B"), ("z", "A"))
    assert {row.issue_key for row in BacklogEntry.objects.all()} == set("abcdef")
    assert [phase for phase, _why in history("b", "joint_refused")] == ["P1"]


def test_a_joint_that_makes_a_minor_issue_major_is_told_too(run: Run) -> None:
    say(run, ("x", "X"))
    reports = [report("g", "major", expected_fail=True, **told("G"))]
    ledger.record(run.phases.get(phase_id="P1").pk, reports, reporter="ann")
    assert counts(run) == (7, 0)
    say(run, ("x", "G"))
    assert counts(run) == (6, 1)
    row = Transition.objects.get(run_id=run.pk, event="issues_joined")
    assert (row.data["minor_issues"], row.data["major_issues"]) == ([7, 6], [0, 1])


@pytest.mark.django_db(transaction=True)
def test_two_at_once_make_no_more_joints_than_their_phase_may(run: Run, settings: Any) -> None:
    settings.MAX_JOINTS_PER_PHASE = 1
    start = threading.Barrier(2)
    faults: list[BaseException] = []

    def bridge(key: str, cause: str) -> None:
        try:
            start.wait(10)
            say(run, (key, cause))
        except BaseException as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=bridge, args=pair) for pair in (("a", "B"), ("c", "D"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert BacklogEvent.objects.filter(event="absorbed").count() == 1
    assert BacklogEvent.objects.filter(event="joint_refused").count() == 2
    assert counts(run) == (5, 0)
