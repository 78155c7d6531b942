"""Reports of one defect are one issue, whatever they are called and in whatever order they come."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest
from django.db import connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autopack_site.kernel import clock
from issues.decisions import accept_entry
from issues.entries import entry_shape
from issues.known import IssueName, Vote
from issues.ledger import DatabaseLedger
from issues.merging import merge_entries
from issues.models import BacklogEntry, BacklogEvent, Issue, RunIndexEntry, TierIssue
from issues.search import with_votes
from issues.shapes import run_index
from issues.tasks import align_runs
from runs.models import Outbox, Run, Tier
from runs.ports import IssueReport
from tests.factories import make_project, make_run
from tests.issues.reports import counts, report

ledger = DatabaseLedger()


def say(run: Run, key: str, *, by: str = "a", phase: str = "P1", **fields: Any) -> dict[str, Any]:
    """Report once; return the issue as the phase's file has it."""
    pk = run.phases.get(phase_id=phase).pk
    [shared] = ledger.record(pk, [report(key, **fields)], reporter=by)
    [issue] = shared.phase_file["issues"]
    return dict(issue)


def brought_into_line() -> None:
    """Deliver the message that a joint leaves for runs that it does not hold, if there is one."""
    for row in Outbox.objects.filter(topic="issues.align"):
        align_runs(**row.reference)
        assert not Outbox.objects.filter(pk=row.pk).exists()


def entry() -> BacklogEntry:
    """The only entry."""
    return BacklogEntry.objects.get()


LEAK: dict[str, Any] = {
    "description": "The file is never closed (line 12)",
    "evidence_refs": ("src/io.py:12",),
}


@pytest.mark.django_db
def test_three_agents_file_one_bug_once() -> None:
    run = make_run()
    said = [
        say(run, "resource-leak", by="ann", **LEAK),
        say(run, "file-not-closed", by="bob", **{**LEAK, "description": "the file is never closed (line 40)"}),
        say(run, "IO_LEAK", by="cid", severity="major", evidence_refs=("src/io.py:9",),
            description="The file  is never closed (line 3)"),
    ]  # fmt: skip
    assert [issue["issue_key"] for issue in said] == ["resource-leak", "file-not-closed", "IO_LEAK"]
    found = entry()
    assert (found.issue_key, found.occurrence_count, found.base_severity) == ("IO_LEAK", 3, "major")
    assert set(found.votes.values_list("reporter", flat=True)) == {"ann", "bob", "cid"}
    assert list(run_index(run)["issues_by_key"]) == ["IO_LEAK"]
    assert counts(run) == counts(run.phases.get(phase_id="P1")) == (0, 1)
    # the first name still leads there
    assert say(run, "resource-leak", by="ann")["issue_key"] == "IO_LEAK"
    assert (entry().occurrence_count, Vote.objects.count()) == (4, 3)


@pytest.mark.django_db
def test_what_is_not_told_matches_nothing() -> None:
    run = make_run()
    say(run, "one", description="it breaks")
    say(run, "two", description="it breaks")
    say(run, "three", evidence_refs=("a/b.py",))
    say(run, "four", evidence_refs=("a/b.py",))
    assert counts(run) == (4, 0)
    assert BacklogEntry.objects.count() == 4


@pytest.mark.django_db
def test_a_bridge_makes_two_issues_one_in_every_phase_and_tier_that_saw_them() -> None:
    run = make_run(tiers=2, phases_per_tier=2)
    say(run, "b", phase="P1", description="x fails", evidence_refs=("a.py",))
    say(run, "c", phase="P1", severity="major", description="y fails", evidence_refs=("a.py",))
    say(run, "c", phase="P3", description="y fails", evidence_refs=("a.py",))
    assert counts(run) == counts(run.phases.get(phase_id="P1")) == (1, 1)
    say(run, "b", phase="P4", by="z", description="y fails", evidence_refs=("a.py",))
    assert {row.issue_key for row in Issue.objects.all()} == {"b"}
    assert [counts(phase) for phase in run.phases.order_by("phase_index")] == [(0, 1), (0, 0), (1, 0), (1, 0)]
    assert [counts(tier) for tier in Tier.objects.order_by("tier_index")] == [(0, 1), (1, 0)]
    assert counts(run) == (0, 1)
    assert run_index(run)["issues_by_key"]["b"]["occurrence_count"] == 4
    assert (entry().issue_key, entry().occurrence_count) == ("b", 4)
    gone = BacklogEntry.with_merged.exclude(pk=entry().pk).get()
    assert (gone.merged_into_id, gone.status) == (entry().pk, "resolved")
    told = BacklogEvent.objects.filter(event__in=["merged", "absorbed"]).order_by("pk")
    assert [(event.entry_id, event.why) for event in told] == [
        (gone.pk, "c is one issue with b"), (entry().pk, "c is one issue with b")
    ]  # fmt: skip


@pytest.mark.django_db
def test_a_run_that_saw_an_issue_under_a_former_key_takes_the_new_one_when_it_sees_it_again() -> None:
    project = make_project()
    old, new = make_run(project), make_run(project)
    say(old, "zeta", **LEAK)
    say(new, "alpha", **LEAK)
    assert list(run_index(old)["issues_by_key"]) == ["zeta"]
    assert entry().issue_key == "alpha"
    say(old, "zeta")
    assert list(run_index(old)["issues_by_key"]) == ["alpha"]
    assert counts(old) == (1, 0)


@pytest.mark.django_db
def test_an_entry_shows_what_was_seen_of_it_under_a_key_that_it_has_lost_since() -> None:
    project = make_project()
    old, new = make_run(project), make_run(project)
    say(old, "zeta", **LEAK)
    Run.objects.filter(pk=old.pk).update(state="DONE_CANCELLED", completed_at=old.created_at)
    say(new, "alpha", **LEAK)
    say(new, "beta")
    shown = entry_shape(with_votes(BacklogEntry.objects.filter(issue_key="alpha")).get())
    assert [(row["run_id"], row["issue_key"]) for row in shown["sightings"]] == [
        (new.pk, "alpha"), (old.pk, "zeta")
    ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("accepted", ["b", "c"])
@pytest.mark.parametrize("status", ["open", "needs_cleanup", "reopened"])
def test_a_report_that_makes_an_accepted_issue_one_with_an_open_one_does_not_end_the_acceptance(
    accepted: str, status: str
) -> None:
    run = make_run()
    say(run, "b", description="x fails", evidence_refs=("a.py",))
    say(run, "c", description="y fails", evidence_refs=("a.py",))
    BacklogEntry.without_ages.update(status=status, effective_severity="major")  # both of age
    until = clock.now() + timedelta(days=3)
    accept_entry(BacklogEntry.objects.get(issue_key=accepted).pk, until=until, by="ann", why="known")
    say(run, "b", by="z", description="y fails", evidence_refs=("a.py",))
    assert (entry().issue_key, entry().status, entry().accepted_until) == ("b", "accepted", until)
    told = BacklogEvent.objects.filter(event__in=["merged", "absorbed"]).values_list("why", flat=True)
    assert list(told) == [f"c is one issue with b, accepted until {clock.stamp(until)}"] * 2


@pytest.mark.django_db
@pytest.mark.parametrize("order", ["alone", "joined"])
def test_an_acceptance_covers_nothing_that_is_worse(order: str) -> None:
    run = make_run()
    say(run, "b", description="x fails", evidence_refs=("a.py",))
    accept_entry(entry().pk, until=clock.now() + timedelta(days=3), by="ann", why="known")
    if order == "joined":
        say(run, "c", severity="major", description="y fails", evidence_refs=("a.py",))
        say(run, "c", by="z", description="x fails", evidence_refs=("a.py",))
    else:
        say(run, "c", severity="major", description="x fails", evidence_refs=("a.py",))
    assert (entry().status, entry().accepted_until, entry().effective_severity) == ("open", None, "major")
    told = BacklogEvent.objects.latest("pk")
    assert (told.event, told.from_status) in {("worsened", "accepted"), ("absorbed", "accepted")}


@pytest.mark.django_db
def test_a_person_s_merge_with_an_open_issue_ends_an_acceptance() -> None:
    run = make_run()
    say(run, "b")
    say(run, "c")
    first, second = BacklogEntry.objects.order_by("issue_key")
    accept_entry(first.pk, until=clock.now() + timedelta(days=3), by="ann", why="known")
    merge_entries(first.pk, [second.pk], by="ann", why="it is worse than that")
    assert (entry().status, entry().accepted_until) == ("open", None)


@pytest.mark.django_db
def test_an_expected_failure_counts_nowhere_under_any_name() -> None:
    run = make_run()
    say(run, "b", expected_fail=True, **LEAK)
    say(run, "a", expected_fail=True, severity="major", **LEAK)
    assert counts(run) == (0, 0)
    assert not BacklogEntry.objects.exists()
    assert not TierIssue.objects.exists()
    row = RunIndexEntry.objects.get()
    assert (row.issue_key, row.expected_fail, row.occurrence_count) == ("a", True, 2)


@pytest.mark.django_db
def test_what_needs_cleanup_still_does_when_it_becomes_one_with_something_resolved() -> None:
    project = make_project()
    run = make_run(project)
    say(run, "a", description="x fails", evidence_refs=("a.py",))
    say(run, "b", description="y fails", evidence_refs=("a.py",))
    BacklogEntry.objects.filter(issue_key="a").update(status="resolved")
    for number in range(3):
        ledger.begin_run(f"later-{number}", project.pk)
    aged = BacklogEntry.objects.get(issue_key="b")
    assert (aged.status, aged.age_in_runs) == ("needs_cleanup", 3)
    say(run, "a", by="z", description="y fails", evidence_refs=("a.py",))
    assert (entry().issue_key, entry().status, entry().age_in_runs) == ("a", "needs_cleanup", 3)


@pytest.mark.django_db(transaction=True)
def test_two_who_build_a_bridge_at_once_make_one_issue() -> None:
    project = make_project()
    runs = [make_run(project), make_run(project)]
    for number, run in enumerate(runs):
        say(run, f"key-{number}", description=f"cause {'xy'[number]}", evidence_refs=("a.py",))
    start = threading.Barrier(2)
    faults: list[BaseException] = []

    def bridge(number: int) -> None:
        try:
            start.wait(10)
            say(runs[number], f"key-{number}", description=f"cause {'yx'[number]}", evidence_refs=("a.py",))
        except BaseException as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=bridge, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert (entry().issue_key, entry().occurrence_count) == ("key-0", 4)
    assert set(IssueName.objects.values_list("issue_key", flat=True)) == {"key-0"}


# -- the order of reports ------------------------------------------------------------------------------------

_TOLD = st.tuples(
    st.sampled_from("abcd"),  # key
    st.sampled_from(["", "s/one.py", "s/two.py:3", "s/three.py"]),  # site
    st.sampled_from(["", "this fails", "that fails", "nothing works"]),  # cause
    st.sampled_from(["minor", "minor", "major"]),
    st.sampled_from([False, False, False, True]),  # expected
    st.sampled_from([("one", "P1"), ("one", "P1"), ("one", "P3"), ("two", "P1"), ("two", "P3")]),
    st.sampled_from(["ann", "bob"]),
)
Place = tuple[str, str]  # run, phase
Told = tuple[str, str, str, str, bool, Place, str]


def _report(told: Told) -> IssueReport:
    key, site, cause, severity, expected, _place, by = told
    return report(key, severity, evidence_refs=(site,) if site else (), description=cause, expected_fail=expected,
                  source=f"{by}-tool", category="lint" if severity == "minor" else "types")  # fmt: skip


def _recorded(
    phases: dict[Place, int], batches: list[list[Told]], *, accepted: bool
) -> list[list[list[Any]]]:
    """Record the batches, bring runs into line; return all that came of it, and take it back.

    `accepted` says whether a person has accepted one of the issues before.
    """
    with transaction.atomic():
        if accepted:
            first: Told = ("b", "s/two.py:3", "that fails", "minor", False, ("one", "P1"), "ann")
            ledger.record(phases["one", "P1"], [_report(first)], reporter="ann")
            BacklogEntry.without_ages.update(status="accepted", accepted_until=clock.now())
        for batch in batches:
            *_, place, by = batch[0]
            ledger.record(phases[place], [_report(told) for told in batch], reporter=by)
        brought_into_line()
        found = _outcome()
        transaction.set_rollback(True)
    return found


# All that a run's issues come to but times and numbers, in one statement: it is asked a thousand times.
_OUTCOME = """
SELECT
    (SELECT jsonb_agg(jsonb_build_array(i.phase_id, i.issue_key, i.severity, i.effective_severity, i.expected_fail,
        i.occurrence_count, i.source, i.category, i.description, i.evidence_refs, i.reporters)
        ORDER BY i.phase_id, i.issue_key) FROM issues_issue i),
    (SELECT jsonb_agg(jsonb_build_array(issue_key, severity, effective_severity, category, expected_fail,
        first_phase_index, last_phase_index, occurrence_count, seen_in_tiers, seen_in_phases, run_id)
        ORDER BY run_id, issue_key) FROM issues_runindexentry),
    (SELECT jsonb_agg(jsonb_build_array(issue_key, category, base_severity, effective_severity, status,
        occurrence_count, runs_offset, tiers_offset, seen_in_tiers, seen_in_runs, paths)
        ORDER BY issue_key) FROM issues_backlogentry WHERE merged_into_id IS NULL),
    (SELECT jsonb_agg(jsonb_build_array(tier_id, issue_key, effective_severity) ORDER BY tier_id, issue_key)
        FROM issues_tierissue),
    (SELECT jsonb_agg(jsonb_build_array(e.issue_key, v.reporter) ORDER BY e.issue_key, v.reporter)
        FROM issues_vote v JOIN issues_backlogentry e ON e.id = v.entry_id),
    (SELECT jsonb_agg(jsonb_build_array(kind, name, issue_key) ORDER BY kind, name) FROM issues_issuename),
    (SELECT jsonb_agg(jsonb_build_array(minor_issues_count, major_issues_count) ORDER BY id) FROM runs_phase),
    (SELECT jsonb_agg(jsonb_build_array(minor_issues_count, major_issues_count) ORDER BY id) FROM runs_tier),
    (SELECT jsonb_agg(jsonb_build_array(minor_issues_count, major_issues_count, run_id) ORDER BY run_id)
        FROM runs_run)
"""


def _outcome() -> list[list[list[Any]]]:
    with connection.cursor() as cursor:
        cursor.execute(_OUTCOME)
        [row] = cursor.fetchall()
    tables = [json.loads(part) if isinstance(part, str) else part or [] for part in row]
    return [
        [[sorted(cell) if isinstance(cell, list) else cell for cell in one] for one in rows]
        for rows in tables
    ]


def _batches(told: list[Told], data: st.DataObject) -> list[list[Told]]:
    """Put neighbours of one run, phase and reporter into one call, or not."""
    batches: list[list[Told]] = []
    for one in told:
        if batches and batches[-1][0][-2:] == one[-2:] and data.draw(st.booleans()):
            batches[-1].append(one)
        else:
            batches.append([one])
    return batches


def _order_changes_nothing(phases: dict[Place, int], told: list[Told], data: st.DataObject) -> None:
    together = sorted(told, key=lambda row: row[-2:])
    accepted = data.draw(st.sampled_from([False, False, True]))
    batches = [list(rows) for _, rows in groupby(together, key=lambda row: row[-2:])]
    one = _recorded(phases, batches, accepted=accepted)
    other = _recorded(phases, _batches(data.draw(st.permutations(told)), data), accepted=accepted)
    if accepted and all(severity == "minor" for _, _, _, severity, *_ in told):
        assert "accepted" in [row[4] for row in one[2]]
    for first, second in zip(one, other, strict=True):
        assert first == second
    # counts are of distinct issues
    for minor, major, run_id in one[-1]:
        assert minor + major == sum(row[-1] == run_id and not row[4] for row in one[1])
    assert {row[0] for row in one[1] if not row[4]} == {row[0] for row in one[2]}
    assert len(one[2]) == len({row[0] for row in one[2]})


def _check(examples: int) -> None:
    project = make_project()
    phases: dict[Place, int] = {}
    for name in ("one", "two"):
        run = make_run(project, run_id=name, tiers=2, phases_per_tier=2)
        phases |= {(name, phase_id): pk for phase_id, pk in run.phases.values_list("phase_id", "pk")}

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_TOLD, min_size=2, max_size=5), st.data())
    def check(told: list[Told], data: st.DataObject) -> None:
        _order_changes_nothing(phases, told, data)

    check()


@pytest.mark.django_db
def test_the_order_of_reports_changes_nothing() -> None:
    _check(500)


@pytest.mark.torture
@pytest.mark.django_db
def test_the_order_of_reports_changes_nothing_ten_thousand_times() -> None:
    _check(10_000)
