"""The project's memory: aged once a run and tier, resolved by coverage, reopened with its history."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from issues.ledger import DatabaseLedger
from issues.models import BacklogAging, BacklogEntry, BacklogEvent
from runs.models import Phase, Run, Tier
from strategy.types import BacklogItem
from tests.factories import make_project, make_ruleset, make_run, pass_gate
from tests.issues.reports import counts, report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()


def entry(key: str = "test:login") -> BacklogEntry:
    """The entry as the database has it now."""
    return BacklogEntry.objects.get(issue_key=key)


def ages(key: str = "test:login") -> tuple[int, int, str]:
    """(in runs, in tiers, status)."""
    row = entry(key)
    return row.age_in_runs, row.age_in_tiers, row.status


def seen(project, *reports, **fields) -> Run:
    """A run of the project in which the reports were made."""
    run = make_run(project, **fields)
    ledger.record(run.phases.get(phase_id="P1").pk, list(reports) or [report()], reporter="b")
    return run


def succeed(run: Run, verdict: str = "green", touched: tuple[str, ...] = ()) -> None:
    """End the run as the engine would: all phases complete, each by a gate of the verdict."""
    for phase in run.phases.all():
        pass_gate(phase, verdict, touched=touched)
    Run.objects.filter(pk=run.pk).update(state="DONE_SUCCESS", completed_at=clock.now())
    ledger.end_run(run.run_id)


def history(key: str = "test:login") -> list[tuple[str, str, str]]:
    """The entry's events: (event, from, to)."""
    rows = BacklogEvent.objects.filter(entry__issue_key=key).order_by("id")
    return list(rows.values_list("event", "from_status", "to_status"))


def test_an_entry_ages_once_a_run_however_often_the_start_is_repeated():
    project = make_project()
    seen(project)
    assert ages() == (0, 0, "open")
    for _ in range(3):
        ledger.begin_run("next", project.pk)
    assert ages() == (1, 0, "open")
    ledger.begin_run("another", project.pk)
    assert ages() == (2, 0, "open")


def test_reports_never_age():
    project = make_project()
    for _ in range(3):
        seen(project)
    assert ages() == (0, 0, "open")
    assert entry().occurrence_count == 3


def test_an_entry_does_not_age_for_the_run_that_it_was_born_in():
    project = make_project()
    run = seen(project)
    ledger.begin_run(run.run_id, project.pk)
    assert ages() == (0, 0, "open")


def test_an_entry_ages_once_a_tier_of_any_run():
    project = make_project()
    seen(project)
    first, second = make_run(project, tiers=2), make_run(project)
    for _ in range(2):
        ledger.begin_tier(first.run_id, "T1")
    assert ages() == (0, 1, "open")
    ledger.begin_tier(second.run_id, "T1")
    assert ages() == (0, 2, "needs_cleanup")


def test_a_tier_that_began_before_the_entry_does_not_age_it():
    project = make_project()
    run = make_run(project, tiers=2)
    Tier.objects.filter(run=run, tier_id="T1").update(started_at=clock.now())
    ledger.record(run.phases.get(phase_id="P3").pk, [report()], reporter="b")
    ledger.begin_tier(run.run_id, "T1")
    assert ages() == (0, 0, "open")


def test_other_projects_are_left_alone():
    project, other = make_project(), make_project()
    seen(project)
    ledger.begin_run("x", other.pk)
    ledger.begin_tier(make_run(other).run_id, "T1")
    ledger.begin_tier("no-such-run", "T1")
    assert ages() == (0, 0, "open")


def test_the_third_run_makes_an_entry_count_as_major_and_tells_why():
    project = make_project()
    seen(project)
    for number in range(3):
        assert ages() == (number, 0, "open")
        ledger.begin_run(f"r{number}", project.pk)
    assert ages() == (3, 0, "needs_cleanup")
    assert (entry().base_severity, entry().effective_severity) == ("minor", "major")
    assert history() == [("opened", "", "open"), ("aged", "open", "needs_cleanup")]
    event = BacklogEvent.objects.get(event="aged")
    assert (event.run_id, event.who, event.why) == ("r2", "autopack", "run r2 starts")


def test_thresholds_are_the_rulesets():
    profiles = {"normal": {"minor_issue_aging_runs_threshold": 1, "minor_issue_aging_tiers_threshold": 9}}
    project = make_project(ruleset={"safety_profiles": profiles})
    seen(project)
    ledger.begin_run("r", project.pk)
    assert ages() == (1, 0, "needs_cleanup")


def test_a_safety_critical_run_marks_by_its_own_frozen_thresholds():
    project = make_project()
    seen(project)
    run = make_run(project, safety_profile="safety_critical")
    ledger.begin_tier(run.run_id, "T1")
    assert ages() == (0, 1, "needs_cleanup")


def test_a_strategy_that_took_the_number_of_another_is_not_taken_for_it():
    # as after a restore, or in another database of the same process
    project = make_project()
    with transaction.atomic():
        gone = seen(project)
        transaction.set_rollback(True)
    seen(project)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('strategy_strategy', 'id'), %s, false)", [gone.strategy_id]
        )
    Run.objects.all().delete()
    run = make_run(project, safety_profile="safety_critical")
    assert run.strategy_id == gone.strategy_id
    ledger.begin_tier(run.run_id, "T1")
    assert ages() == (0, 1, "needs_cleanup")


def test_a_report_of_an_aged_key_counts_as_major():
    project = make_project()
    seen(project)
    for number in range(3):
        ledger.begin_run(f"r{number}", project.pk)
    run = seen(project)
    assert counts(run) == (0, 1)
    index = run.issue_index.get()
    assert (index.severity, index.effective_severity) == ("minor", "major")
    assert ages() == (3, 0, "needs_cleanup")


def test_a_key_that_ages_while_a_run_works_counts_as_major_from_the_next_report():
    project = make_project()
    run = seen(project, tiers=3)
    assert counts(run) == (1, 0)
    for tier_id in ("T2", "T3"):
        ledger.begin_tier(run.run_id, tier_id)
    ledger.record(run.phases.get(phase_id="P5").pk, [report()], reporter="b")
    assert counts(run) == (0, 1)
    assert [counts(tier) for tier in run.tiers.all()] == [(1, 0), (0, 0), (0, 1)]


def test_an_open_entry_that_a_successful_run_covered_and_did_not_see_is_resolved():
    project = make_project()
    seen(project)
    run = make_run(project)
    succeed(run)
    assert ages()[2] == "resolved"
    assert history()[-1] == ("resolved", "open", "resolved")
    assert BacklogEvent.objects.get(event="resolved").run_id == run.run_id
    ledger.end_run(run.run_id)
    assert len(history()) == 2


def test_an_aged_entry_is_resolved_too():
    project = make_project()
    seen(project)
    for number in range(3):
        ledger.begin_run(f"r{number}", project.pk)
    succeed(make_run(project))
    assert history()[-1] == ("resolved", "needs_cleanup", "resolved")


def test_what_the_run_saw_stays_open():
    project = make_project()
    seen(project)
    succeed(seen(project))
    assert ages()[2] == "open"


def test_what_the_run_saw_only_as_an_expected_failure_is_resolved():
    project = make_project()
    seen(project)
    succeed(seen(project, report(expected_fail=True)))
    assert ages()[2] == "resolved"


def test_what_another_run_saw_since_this_one_started_stays_open():
    project = make_project()
    run = make_run(project)
    seen(project)
    succeed(run)
    assert ages()[2] == "open"


@pytest.mark.parametrize("state", ["DONE_FAILED_GATE", "DONE_CANCELLED", "PHASE_QUEUEING"])
def test_a_run_that_did_not_succeed_resolves_nothing(state):
    project = make_project()
    seen(project)
    run = make_run(project)
    for phase in run.phases.all():
        pass_gate(phase)
    ended = None if state == "PHASE_QUEUEING" else clock.now()
    Run.objects.filter(pk=run.pk).update(state=state, completed_at=ended)
    ledger.end_run(run.run_id)
    assert ages()[2] == "open"


def test_only_what_lies_in_the_scopes_of_complete_phases_is_resolved():
    project = make_project()
    seen(
        project,
        report("in", evidence_refs=("src/a.py:1",)),
        report("half", evidence_refs=("src/a.py", "docs/x.md")),
        report("out", evidence_refs=("lib/b.py:1",)),
        report("nowhere"),
    )
    run = make_run(project, scope=("src/**",))
    Phase.objects.filter(run=run, phase_id="P2").update(scope=["lib/**"], state="SKIPPED")
    pass_gate(run.phases.get(phase_id="P1"))
    Run.objects.filter(pk=run.pk).update(state="DONE_SUCCESS", completed_at=clock.now())
    ledger.end_run(run.run_id)
    statuses = dict(BacklogEntry.objects.values_list("issue_key", "status"))
    assert statuses == {"in": "resolved", "half": "open", "out": "open", "nowhere": "open"}


def test_an_entry_without_paths_lies_where_the_phases_that_saw_it_might_have_worked():
    project = make_project()
    seen(project, scope=("src/core/**",))
    succeed(make_run(project, scope=("lib/**",)))
    assert ages()[2] == "open"
    succeed(make_run(project, scope=("src/**",)))
    assert ages()[2] == "resolved"


def test_a_resolved_entry_does_not_age_and_is_reopened_with_its_history():
    project = make_project()
    first = seen(project)
    ledger.begin_run("r0", project.pk)
    succeed(make_run(project))
    ledger.begin_run("r1", project.pk)
    assert ages() == (1, 0, "resolved")
    again = seen(project)
    row = entry()
    assert (row.status, row.age_in_runs, row.occurrence_count) == ("reopened", 1, 2)
    assert (row.first_seen_run_id, row.last_seen_run_id) == (first.run_id, again.run_id)
    assert row.seen_in_runs == [first.run_id, again.run_id]
    assert [event for event, *_ in history()] == ["opened", "resolved", "reopened"]
    ledger.begin_run("r2", project.pk)
    assert ages() == (2, 0, "reopened")
    ledger.begin_run("r3", project.pk)
    assert ages() == (3, 0, "needs_cleanup")


def test_an_issue_remembers_the_run_that_saw_its_key_first():
    project = make_project()
    first, second = seen(project), seen(project)
    issue = second.phases.get(phase_id="P1").issues.get()
    assert (issue.first_seen_run, issue.last_seen_run) == (first.run_id, second.run_id)


def test_the_backlog_for_the_strategy_holds_what_is_not_resolved_by_key():
    project = make_project()
    seen(project, report("b", evidence_refs=("src/b.py:2",)), report("B", "major"), report("a"), report("z"))
    BacklogEntry.objects.filter(issue_key="z").update(status="resolved")
    BacklogEntry.objects.filter(issue_key="a").update(status="reopened", tiers_offset=1)
    assert ledger.backlog(project.pk) == [
        BacklogItem("B", "test_failure", "major", 0, 0, "open"),
        BacklogItem("a", "test_failure", "minor", 0, 1, "reopened"),
        BacklogItem("b", "test_failure", "minor", 0, 0, "open", ("src/b.py",)),
    ]
    assert ledger.backlog(make_project().pk) == []


def test_aging_costs_the_same_statements_for_one_entry_and_for_many():
    project = make_project(ruleset={"safety_profiles": {"normal": {"minor_issue_aging_runs_threshold": 1}}})
    ledger.begin_run("first", project.pk)  # the ruleset's thresholds are read once a process
    costs = []
    for number, size in enumerate((1, 300)):
        seen(project, *(report(f"{number}-{index}") for index in range(size)))
        with CaptureQueriesContext(connection) as captured:
            ledger.begin_run(f"r{number}", project.pk)
        costs.append(len(captured))
    assert costs[0] == costs[1] <= 8
    assert BacklogEntry.objects.filter(status="needs_cleanup").count() == 301


def test_resolving_costs_the_same_statements_for_one_entry_and_for_many():
    costs = []
    for size in (1, 300):
        project = make_project()
        seen(project, *(report(f"k{index}", evidence_refs=(f"src/{index}.py",)) for index in range(size)))
        run = make_run(project, scope=("src/**",))
        with CaptureQueriesContext(connection) as captured:
            succeed(run)
        costs.append(len(captured))
    assert costs[0] == costs[1]
    assert not BacklogEntry.objects.live().exists()


@pytest.mark.parametrize("model", [BacklogEvent, BacklogAging])
@pytest.mark.parametrize("change", ["update", "delete"])
def test_history_can_not_be_changed(model, change):
    project = make_project()
    seen(project)
    ledger.begin_run("r", project.pk)
    rows = model.objects.all()
    with pytest.raises(IntegrityError, match="immutable"), transaction.atomic():
        rows.update(run_id="other") if change == "update" else rows.delete()


def test_the_database_refuses_a_second_aging_for_the_same_run():
    project = make_project()
    values = {"project": project, "run_id": "r", "at": clock.now()}
    BacklogAging.objects.create(**values)
    with pytest.raises(IntegrityError, match="one_aging_a_run_and_tier"), transaction.atomic():
        BacklogAging.objects.create(**values)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "unheard"},
        {"status": "needs_cleanup", "effective_severity": "minor"},
        {"base_severity": "major", "effective_severity": "minor"},
        {"status": "resolved", "runs_offset": -1},
    ],
)
def test_the_database_refuses_an_entry_that_contradicts_itself(changes):
    seen(make_project())
    with pytest.raises(IntegrityError), transaction.atomic():
        BacklogEntry.objects.update(**changes)


def test_a_ruleset_with_lower_thresholds_marks_at_the_next_start():
    project = make_project()
    seen(project)
    ledger.begin_run("r0", project.pk)
    make_ruleset(project, safety_profiles={"normal": {"minor_issue_aging_runs_threshold": 2}})
    ledger.begin_run("r1", project.pk)
    assert ages() == (2, 0, "needs_cleanup")


def test_a_day_alone_ages_nothing():
    project = make_project()
    seen(project)
    BacklogEntry.objects.update(last_seen_at=clock.now() - timedelta(days=400))
    ledger.begin_run("r0", project.pk)
    assert ages() == (1, 0, "open")
