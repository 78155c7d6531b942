"""What a start costs with a large backlog, batches of the sweep, and ages against a count kept entry by entry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import PreparedRows
from issues import backlog, marking, sweeps
from issues.decisions import accept_entry, resolve_entry
from issues.ledger import DatabaseLedger
from issues.models import BacklogAging, BacklogEntry, BacklogEvent, BacklogTally
from issues.sweeps import sweep_backlogs
from runs.models import Run
from strategy.models import Project
from tests.factories import make_project, make_run
from tests.issues.reports import counts, report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()
AT_ONE_RUN = {"safety_profiles": {"normal": {"minor_issue_aging_runs_threshold": 1}}}


def many(project: Project, size: int) -> Run:
    """A run that reported so many issues."""
    run = make_run(project)
    ledger.record(run.phases.get(phase_id="P1").pk, [report(f"k{n:03}") for n in range(size)], reporter="b")
    return run


def written(action: Any) -> tuple[int, int]:
    """(statements, rows of the backlog updated) that an action took."""
    with transaction.atomic(), connection.cursor() as cursor:
        asked = len(connection.queries_log)
        connection.force_debug_cursor = True
        try:
            before = _updated(cursor)
            action()
            return len(connection.queries_log) - asked, _updated(cursor) - before
        finally:
            connection.force_debug_cursor = False


def _updated(cursor: Any) -> int:
    cursor.execute("SELECT pg_stat_get_xact_tuples_updated('issues_backlogentry'::regclass)")
    return int(cursor.fetchone()[0])


def test_a_run_and_a_tier_begin_without_touching_any_entry_however_many_are_open():
    costs = []
    for size in (2, 400):
        project = make_project()
        many(project, size)
        run = make_run(project)
        begun = written(lambda pk=project.pk: ledger.begin_run("next", pk))
        costs.append((begun, written(lambda run=run: ledger.begin_tier(run.run_id, "T1"))))
        ages = set(BacklogEntry.objects.filter(project=project).values_list("age_in_runs", "age_in_tiers"))
        assert ages == {(1, 1)}
    assert costs[0] == costs[1]
    assert [rows for _statements, rows in costs[1]] == [0, 0]


def test_a_start_marks_a_bounded_number_and_the_sweep_the_rest(monkeypatch):
    monkeypatch.setattr(backlog, "MAX_MARKED_AT_START", 4)
    monkeypatch.setattr(sweeps, "BATCH", 3)
    project = make_project(ruleset=AT_ONE_RUN)
    many(project, 14)
    ledger.begin_run("next", project.pk)
    marked = BacklogEntry.objects.filter(status="needs_cleanup", effective_severity="major")
    assert marked.count() == 4
    assert sweep_backlogs() == 1
    assert marked.count() == 14
    events = BacklogEvent.objects.filter(event="aged")
    assert events.values("entry").distinct().count() == events.count() == 14
    assert sweep_backlogs() == 0


def test_what_is_not_marked_yet_counts_as_aged_for_reports_and_for_the_strategy(monkeypatch):
    monkeypatch.setattr(backlog, "MAX_MARKED_AT_START", 0)
    project = make_project()
    many(project, 2)
    for number in range(3):
        ledger.begin_run(f"r{number}", project.pk)
    assert {(item.age_in_runs, item.status) for item in ledger.backlog(project.pk)} == {(3, "open")}
    run = make_run(project)
    ledger.record(run.phases.get(phase_id="P1").pk, [report("k000")], reporter="b")
    assert counts(run) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_the_sweep_lets_the_backlog_go_between_its_batches(monkeypatch):
    monkeypatch.setattr(sweeps, "BATCH", 2)
    project = make_project(ruleset=AT_ONE_RUN)
    many(project, 7)
    BacklogTally.objects.update(runs=1)
    other, free = connection.copy(), []
    real = marking.mark_batch

    def watched(*args: Any, **fields: Any) -> Any:
        batch = real(*args, **fields)
        transaction.on_commit(look)
        return batch

    def look() -> None:
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM issues_backlogtally FOR UPDATE SKIP LOCKED")
            found = cursor.fetchone()
            cursor.execute("SELECT count(*) FROM issues_backlogentry WHERE status = 'needs_cleanup'")
            free.append((found, *cursor.fetchone()))

    monkeypatch.setattr(sweeps, "mark_batch", watched)
    try:
        assert sweep_backlogs() == 1
    finally:
        other.close()
    assert free == [((1,), 2), ((1,), 4), ((1,), 6), ((1,), 7), ((1,), 7)]  # the last looks at tiers


def test_the_strategy_looks_at_the_oldest_of_very_many(monkeypatch):
    monkeypatch.setattr(backlog, "MAX_ITEMS", 2)
    monkeypatch.setattr(backlog, "_oldest", PreparedRows(backlog.oldest_rows))
    project = make_project()
    many(project, 3)
    ledger.begin_run("next", project.pk)
    BacklogEntry.objects.filter(issue_key="k001").update(runs_offset=4)
    assert [item.issue_key for item in ledger.backlog(project.pk)] == ["k000", "k001"]


KEYS = ("a", "b", "c")
STEPS = st.one_of(
    st.tuples(st.just("run"), st.booleans()),
    st.tuples(st.just("tier"), st.booleans()),
    st.tuples(st.just("report"), st.sampled_from(KEYS)),
    st.tuples(st.just("resolve"), st.sampled_from(KEYS)),
    st.tuples(st.just("accept"), st.sampled_from(KEYS)),
    st.tuples(st.just("lapse"), st.none()),
)


def told(steps: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the steps, one a minute, and keep each entry's ages beside: [runs, tiers, status, opened at]."""
    project = make_project()
    run = make_run(project)
    phase_pk = run.phases.get(phase_id="P1").pk
    expected: dict[str, list[Any]] = {}
    now = clock.now()
    for number, (step, what) in enumerate(steps):
        now += timedelta(minutes=1)
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        entry = BacklogEntry.objects.filter(project=project, issue_key=what or "").first()
        if step in ("run", "tier"):
            # late: it began 90 s ago, before what the last two steps opened
            moment = now - timedelta(seconds=90) if what else None
            with transaction.atomic():
                tally = backlog.lock_backlog(project.pk)
                assert backlog.age(tally, f"r{number}", "T" if step == "tier" else "", moment)
            for row in expected.values():
                if row[2] == "live" and (moment is None or row[3] < moment):
                    row[step == "tier"] += 1
        elif step == "report":
            ledger.record(phase_pk, [report(what)], reporter="b")
            row = expected.setdefault(what, [0, 0, "", now])
            if row[2] in ("", "resolved"):
                row[2:] = ["live", now]
        elif step == "resolve" and entry and entry.status != "resolved":
            resolve_entry(entry.pk, by="ann", why="done")
            expected[what][2] = "resolved"
        elif step == "accept" and entry and entry.status != "resolved":
            accept_entry(entry.pk, until=now + timedelta(seconds=30), by="ann", why="known")
            expected[what][2:] = ["accepted", now + timedelta(seconds=30)]
        elif step == "lapse":
            with transaction.atomic():
                backlog.lock_backlog(project.pk)
                backlog.lapse(project.pk)
            for row in expected.values():
                if row[2] == "accepted":
                    row[2] = "live"
    rows = BacklogEntry.objects.filter(project=project)
    found = {row.issue_key: [row.age_in_runs, row.age_in_tiers] for row in rows}
    assert found == {key: row[:2] for key, row in expected.items()}
    plain = {row.issue_key: [row.age_in_runs, row.age_in_tiers] for row in rows.model.without_ages.all()}
    assert {key: plain[key] for key in found} == found
    kept = BacklogTally.objects.filter(project=project).first()
    begun = BacklogAging.objects.filter(project=project)
    if kept:
        assert (kept.runs, kept.tiers) == (
            begun.filter(tier_id="").count(),
            begun.exclude(tier_id="").count(),
        )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12))
def test_ages_are_those_of_a_count_kept_entry_by_entry(steps):
    with pytest.MonkeyPatch.context() as monkeypatch, transaction.atomic():
        told(steps, monkeypatch)
        transaction.set_rollback(True)


@pytest.mark.torture
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12))
def test_ages_are_those_of_a_count_kept_entry_by_entry_in_ten_thousand_histories(steps):
    with pytest.MonkeyPatch.context() as monkeypatch, transaction.atomic():
        told(steps, monkeypatch)
        transaction.set_rollback(True)
