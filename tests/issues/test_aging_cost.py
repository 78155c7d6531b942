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
from issues import backlog, decisions, marking, sweeps
from issues.decisions import accept_entry, resolve_entry
from issues.ledger import DatabaseLedger
from issues.models import BacklogAging, BacklogEntry, BacklogEvent, BacklogTally
from issues.sweeps import sweep_backlogs
from runs.models import Phase, Run
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


@pytest.mark.parametrize("counter", ["run", "tier"])
def test_what_lapses_late_is_aged_for_what_began_since(counter, monkeypatch):
    project = make_project()
    many(project, 3)
    now = clock.now()
    for number, entry in enumerate(BacklogEntry.objects.order_by("issue_key")):
        accept_entry(entry.pk, until=now + timedelta(minutes=1 + 2 * number), by="ann", why="known")
    for number in range(2):
        monkeypatch.setattr(clock, "now", lambda number=number: now + timedelta(minutes=2 + 2 * number))
        tally = backlog.lock_backlog(project.pk)
        backlog.age(tally, f"r{number}", "T" if counter == "tier" else "", None)
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=9))
    assert sweep_backlogs() == 1
    ages = BacklogEntry.objects.order_by("issue_key").values_list(f"age_in_{counter}s", flat=True)
    assert list(ages) == [2, 1, 0]
    assert BacklogEntry.objects.filter(status="accepted").count() == 0


def test_a_start_ends_a_bounded_number_of_acceptances_and_the_sweep_the_rest(monkeypatch):
    for module in (backlog, sweeps):
        monkeypatch.setattr(module, "MAX_LAPSED", 3)
    monkeypatch.setattr(backlog, "_lapsed", PreparedRows(backlog.lapsed_rows))
    project = make_project()
    many(project, 8)
    now = clock.now()
    for entry in BacklogEntry.objects.all():
        accept_entry(entry.pk, until=now + timedelta(minutes=1), by="ann", why="known")
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=2))
    ledger.begin_run("next", project.pk)
    assert BacklogEntry.objects.filter(status="accepted").count() == 5
    holds: list[int] = []
    real = sweeps.lapse

    def counted(project_pk: int) -> int:
        holds.append(real(project_pk))
        return holds[-1]

    monkeypatch.setattr(sweeps, "lapse", counted)
    assert sweep_backlogs() == 1
    assert holds == [3, 2]
    assert set(BacklogEntry.objects.values_list("status", "age_in_runs")) == {("open", 1)}
    assert BacklogEvent.objects.filter(event="lapsed").count() == 8


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


def told(phase: Phase, steps: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the steps, one a minute, and keep each entry's ages beside: [runs, tiers, status, opened at].

    Of an entry whose acceptance has ended, what has begun since counts from the moment that it is open again.
    """
    run, project = phase.run, phase.run.project
    monkeypatch.setattr(decisions, "renew_files", lambda project: None)
    expected: dict[str, list[Any]] = {}
    since_then: dict[str, list[int]] = {}
    now = clock.now()
    for number, (step, what) in enumerate(steps):
        now += timedelta(minutes=1)
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        entries: dict[str, BacklogEntry] = {}
        if step in ("report", "resolve", "accept"):
            found = BacklogEntry.without_ages.filter(project=project, issue_key=what)
            entries = {entry.issue_key: entry for entry in found}
        entry = entries.get(what)
        if step in ("run", "tier"):
            # late: it began 90 s ago, before what the last two steps opened
            moment = now - timedelta(seconds=90) if what else None
            tally = backlog.lock_backlog(project.pk)
            assert backlog.age(tally, f"r{number}", "T" if step == "tier" else "", moment)
            for key, row in expected.items():
                if row[3] < (moment or now):
                    ages = {"live": row, "accepted": since_then.get(key)}.get(row[2])
                    if ages is not None:
                        ages[step == "tier"] += 1
        elif step == "report":
            tally = backlog.lock_backlog(project.pk)
            backlog.remember(entries, run, phase, [report(what)], "b", tally, "")
            row = expected.setdefault(what, [0, 0, "", now])
            if row[2] in ("", "resolved"):
                row[2:] = ["live", now]
        elif step == "resolve" and entry and entry.status != "resolved":
            resolve_entry(entry.pk, by="ann", why="done")
            expected[what][2] = "resolved"
        elif step == "accept" and entry and entry.status != "resolved":
            accept_entry(entry.pk, until=now + timedelta(seconds=30), by="ann", why="known")
            expected[what][2:] = ["accepted", now + timedelta(seconds=30)]
            since_then[what] = [0, 0]
        elif step == "lapse":
            backlog.lock_backlog(project.pk)
            backlog.lapse(project.pk)
            for key, row in expected.items():
                if row[2] == "accepted":
                    row[:3] = [row[0] + since_then[key][0], row[1] + since_then[key][1], "live"]
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


def _check(examples: int) -> None:
    phase = Phase.objects.select_related("tier", "run__project").get(run=make_run(), phase_id="P1")

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(steps=st.lists(STEPS, max_size=10))
    def check(steps: list[tuple[str, Any]]) -> None:
        with pytest.MonkeyPatch.context() as monkeypatch, transaction.atomic():
            told(phase, steps, monkeypatch)
            transaction.set_rollback(True)

    check()


def test_ages_are_those_of_a_count_kept_entry_by_entry() -> None:
    _check(500)


@pytest.mark.torture
def test_ages_are_those_of_a_count_kept_entry_by_entry_in_ten_thousand_histories() -> None:
    _check(10_000)
