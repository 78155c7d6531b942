"""The beat's sweep: ages what a start did not, applies thresholds, does it once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from autopack_site.kernel import clock
from issues.ledger import DatabaseLedger
from issues.models import BacklogAging, BacklogEntry, BacklogEvent
from issues.sweeps import SWEEP_LOCKS, sweep_backlogs
from issues.tasks import age_backlogs
from runs.models import Outbox, Tier
from tests.factories import make_project, make_ruleset, make_run
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()


def old_entry(project) -> None:
    """An entry of an hour ago, by a run that has its aging row."""
    run = make_run(project)
    ledger.begin_run(run.run_id, project.pk)
    ledger.record(run.phases.get(phase_id="P1").pk, [report()], reporter="b")
    an_hour_ago = clock.now() - timedelta(hours=1)
    BacklogEntry.objects.filter(project=project).update(opened_at=an_hour_ago)
    type(run).objects.filter(pk=run.pk).update(created_at=an_hour_ago - timedelta(minutes=1))


def test_runs_and_tiers_without_an_aging_row_are_aged_once():
    project = make_project()
    old_entry(project)
    run = make_run(project, tiers=2)
    Tier.objects.filter(run=run, tier_id="T1").update(started_at=clock.now())
    for _ in range(2):
        age_backlogs()
    entry = BacklogEntry.objects.get()
    assert (entry.age_in_runs, entry.age_in_tiers) == (1, 1)
    assert set(BacklogAging.objects.filter(run_id=run.run_id).values_list("tier_id", flat=True)) == {"", "T1"}


def test_what_a_start_has_aged_is_not_aged_again():
    project = make_project()
    old_entry(project)
    run = make_run(project)
    ledger.begin_run(run.run_id, project.pk)
    ledger.begin_tier(run.run_id, "T1")
    Tier.objects.filter(run=run).update(started_at=clock.now())
    assert sweep_backlogs() == 0
    entry = BacklogEntry.objects.get()
    assert (entry.age_in_runs, entry.age_in_tiers) == (1, 1)


def test_runs_before_the_entry_do_not_age_it():
    project = make_project()
    make_run(project)
    run = make_run(project)
    ledger.record(run.phases.get(phase_id="P1").pk, [report()], reporter="b")
    assert sweep_backlogs() == 0
    assert BacklogEntry.objects.get().age_in_runs == 0


def test_lowered_thresholds_mark_at_the_next_sweep_and_renew_the_files():
    project = make_project()
    old_entry(project)
    ledger.begin_run("r0", project.pk)
    assert sweep_backlogs() == 0
    make_ruleset(project, safety_profiles={"normal": {"minor_issue_aging_runs_threshold": 1}})
    Outbox.objects.all().delete()
    assert sweep_backlogs() == 1
    assert BacklogEntry.objects.get().status == "needs_cleanup"
    event = BacklogEvent.objects.get(event="aged")
    assert (event.why, event.run_id) == ("the sweep applies the ruleset's thresholds", "")
    assert Outbox.objects.get().topic == "artefacts.write"
    assert sweep_backlogs() == 0


def test_projects_without_open_entries_cost_nothing(django_assert_num_queries):
    project = make_project()
    make_run(project)
    with django_assert_num_queries(1):
        assert sweep_backlogs() == 0


@pytest.mark.django_db(transaction=True)
def test_a_sweep_leaves_a_project_to_the_sweep_that_is_at_it():
    project = make_project(ruleset={"safety_profiles": {"normal": {"minor_issue_aging_runs_threshold": 1}}})
    old_entry(project)
    BacklogEntry.objects.update(runs_offset=5)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [SWEEP_LOCKS, project.pk])
        assert sweep_backlogs() == 0
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [SWEEP_LOCKS, project.pk])
    finally:
        other.close()
    assert sweep_backlogs() == 1
