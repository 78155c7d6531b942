"""Reports become rows at three levels; counts are of distinct keys."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from issues import services
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogEvent, Issue, RunIndexEntry, TierIssue
from runs.errors import PhaseNotFound
from runs.models import Outbox, Phase, Run, Tier
from tests.factories import make_project, make_run
from tests.issues.reports import counts, report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()


def test_a_report_is_one_row_at_each_level_with_the_shapes_of_the_contract():
    run = make_run(tiers=2)
    phase = run.phases.get(phase_id="P3")
    [shared] = ledger.record(
        phase.pk, [report(evidence_refs=("tests/test_login.py::test_ok", "log 1"))], reporter="builder-1"
    )
    assert shared.phase_file == {
        "phase_id": "P3",
        "tier_id": "T2",
        "issues": [
            {
                "issue_key": "test:login",
                "severity": "minor",
                "effective_severity": "minor",
                "source": "test",
                "category": "test_failure",
                "task_category": phase.task_category,
                "complexity": phase.complexity,
                "expected_fail": False,
                "occurrence_count": 1,
                "first_seen_run": run.run_id,
                "last_seen_run": run.run_id,
                "evidence_refs": ["tests/test_login.py::test_ok", "log 1"],
            }
        ],
        "minor_issue_count": 1,
        "major_issue_count": 0,
        "issue_state": "has_minor_issues",
    }
    assert shared.run_index_entry == {
        "category": "test_failure",
        "severity": "minor",
        "effective_severity": "minor",
        "first_phase_index": 2,
        "last_phase_index": 2,
        "occurrence_count": 1,
        "seen_in_tiers": ["T2"],
        "seen_in_phases": ["P3"],
    }
    entry = shared.project_backlog_entry
    assert entry.pop("last_seen_at").endswith("Z")
    assert entry == {
        "category": "test_failure",
        "base_severity": "minor",
        "age_in_runs": 0,
        "age_in_tiers": 0,
        "first_seen_run_id": run.run_id,
        "last_seen_run_id": run.run_id,
        "seen_in_tiers": ["T2"],
        "status": "open",
    }
    assert BacklogEntry.objects.get().paths == ["tests/test_login.py"]
    assert BacklogEvent.objects.values_list("event", "from_status", "to_status", "who", "run_id").get() == (
        "opened",
        "",
        "open",
        "builder-1",
        run.run_id,
    )


def test_a_key_reported_again_counts_once_and_keeps_every_occurrence():
    run = make_run()
    phase = run.phases.get(phase_id="P1")
    for number in range(3):
        ledger.record(phase.pk, [report(evidence_refs=(f"ref {number % 2}",))], reporter=f"b{number}")
    issue = Issue.objects.get()
    assert (issue.occurrence_count, issue.evidence_refs, issue.reporters) == (
        3,
        ["ref 0", "ref 1"],
        ["b0", "b1", "b2"],
    )
    assert RunIndexEntry.objects.get().occurrence_count == BacklogEntry.objects.get().occurrence_count == 3
    assert counts(phase) == counts(phase.tier) == counts(run) == (1, 0)


def test_counts_are_of_distinct_keys_in_phase_tier_and_run():
    run = make_run(tiers=2)
    one, two, three = run.phases.filter(phase_id__in=["P1", "P2", "P3"])
    for phase in (one, two, three):
        ledger.record(phase.pk, [report("shared"), report(f"own-{phase.phase_id}")], reporter="b")
    assert [counts(phase) for phase in (one, two, three)] == [(2, 0)] * 3
    assert [counts(tier) for tier in run.tiers.all()] == [(3, 0), (2, 0)]
    assert counts(run) == (4, 0)
    entry = RunIndexEntry.objects.get(issue_key="shared")
    assert (entry.first_phase_index, entry.last_phase_index) == (0, 2)
    assert (entry.seen_in_tiers, entry.seen_in_phases) == (["T1", "T2"], ["P1", "P2", "P3"])


def test_an_issue_that_becomes_major_moves_from_one_count_to_the_other_where_it_was_seen():
    run = make_run(tiers=2)
    one, two, three = run.phases.filter(phase_id__in=["P1", "P2", "P3"])
    for phase in (one, two, three):
        ledger.record(phase.pk, [report()], reporter="b")
    ledger.record(two.pk, [report(severity="major")], reporter="b")
    assert [counts(phase) for phase in (one, two, three)] == [(1, 0), (0, 1), (1, 0)]
    assert [counts(tier) for tier in run.tiers.all()] == [(0, 1), (1, 0)]
    assert counts(run) == (0, 1)


def test_severity_stays_at_the_highest_seen():
    phase = make_run().phases.get(phase_id="P1")
    ledger.record(phase.pk, [report(severity="major")], reporter="b")
    ledger.record(phase.pk, [report(severity="minor")], reporter="b")
    issue, entry = Issue.objects.get(), BacklogEntry.objects.get()
    assert (issue.severity, issue.effective_severity) == ("major", "major")
    assert (entry.base_severity, entry.effective_severity) == ("major", "major")
    assert counts(phase) == (0, 1)


def test_a_batch_with_the_same_key_twice_is_one_row_with_two_occurrences():
    phase = make_run().phases.get(phase_id="P1")
    shared = ledger.record(phase.pk, [report(), report("other"), report(severity="major")], reporter="b")
    assert [row.phase_file["issues"][0]["occurrence_count"] for row in shared] == [2, 1, 2]
    assert counts(phase) == (1, 1)
    assert shared[0].phase_file["issue_state"] == "has_major_issues"


@pytest.mark.parametrize("category", ["schema_contract_change", "schema_change", "Schema-Change"])
def test_a_category_whose_default_is_major_counts_as_major_and_keeps_what_was_reported(category):
    phase = make_run().phases.get(phase_id="P1")
    ledger.record(phase.pk, [report(category=category)], reporter="b")
    issue = Issue.objects.get()
    assert (issue.severity, issue.effective_severity) == ("minor", "major")
    assert counts(phase) == (0, 1)


def test_a_minor_test_failure_in_a_high_risk_phase_stays_minor():
    phase = make_run(task_category="schema_change").phases.get(phase_id="P1")
    ledger.record(phase.pk, [report()], reporter="b")
    assert counts(phase) == (1, 0)


def test_a_severity_upgrade_of_the_ruleset_counts_from_the_first_report():
    project = make_project(
        ruleset={"severity_upgrades": {"data loss": "major"}, "category_map": {"lost_rows": "data_loss"}}
    )
    phase = make_run(project).phases.get(phase_id="P1")
    ledger.record(
        phase.pk, [report("a", category="data_loss"), report("b", category="lost rows")], reporter="b"
    )
    assert counts(phase) == (0, 2)


def test_an_expected_failure_is_recorded_and_counted_nowhere():
    run = make_run()
    phase = run.phases.get(phase_id="P1")
    [shared] = ledger.record(phase.pk, [report(expected_fail=True, severity="major")], reporter="b")
    assert Issue.objects.get().expected_fail
    assert shared.phase_file["issue_state"] == "no_issues"
    assert shared.project_backlog_entry == {}
    assert counts(phase) == counts(phase.tier) == counts(run) == (0, 0)
    assert not BacklogEntry.objects.exists()
    assert not TierIssue.objects.exists()


def test_an_expected_failure_that_somebody_did_not_expect_counts_from_then_on():
    run = make_run()
    phase = run.phases.get(phase_id="P1")
    ledger.record(phase.pk, [report(expected_fail=True)], reporter="b")
    ledger.record(phase.pk, [report()], reporter="b")
    ledger.record(phase.pk, [report(expected_fail=True)], reporter="b")
    assert counts(phase) == counts(phase.tier) == counts(run) == (1, 0)
    assert not Issue.objects.get().expected_fail
    assert BacklogEntry.objects.get().occurrence_count == 1


@pytest.mark.parametrize("state", ["DONE_SUCCESS", "DONE_CANCELLED"])
def test_a_run_that_has_ended_still_takes_reports(state):
    run = make_run()
    Run.objects.filter(pk=run.pk).update(state=state, completed_at=run.created_at)
    ledger.record(run.phases.get(phase_id="P1").pk, [report()], reporter="late")
    assert counts(run) == (1, 0)


def test_hostile_text_is_stored_clipped_and_never_refused():
    phase = make_run().phases.get(phase_id="P1")
    bad = "nul\x00 lone \ud800 " + "x" * 9000
    ledger.record(
        phase.pk,
        [
            report(bad, "fatal", source=bad, category=bad, evidence_refs=(bad,) * 3, description=bad,
                   task_category=bad, complexity=bad),
            report(bad + "y"),
        ],
        reporter=bad[:40].replace("\x00", "").replace("\ud800", ""),
    )  # fmt: skip
    first, second = Issue.objects.order_by("severity")  # "major" sorts first
    assert {first.issue_key[:230]} == {second.issue_key[:230]}
    assert first.issue_key != second.issue_key
    assert len(first.issue_key) == 256
    assert first.severity == "major"
    assert len(first.evidence_refs) == 1
    assert "\x00" not in first.description


def test_evidence_is_bounded_and_without_doubles():
    phase = make_run().phases.get(phase_id="P1")
    for number in range(3):
        refs = tuple(f"src/f{index}.py:1" for index in range(number * 50, number * 50 + 80))
        ledger.record(phase.pk, [report(evidence_refs=refs)], reporter="b")
    issue, entry = Issue.objects.get(), BacklogEntry.objects.get()
    assert issue.evidence_refs == [f"src/f{index}.py:1" for index in range(100)]
    assert entry.paths == [f"src/f{index}.py" for index in range(50)]


def test_a_phase_that_is_not_there_is_refused_and_leaves_no_row():
    with pytest.raises(PhaseNotFound):
        ledger.record(0, [report()], reporter="b")
    assert not BacklogEntry.objects.exists()


def test_no_reports_cost_no_query(django_assert_num_queries):
    phase = make_run().phases.get(phase_id="P1")
    with django_assert_num_queries(0):
        assert ledger.record(phase.pk, [], reporter="b") == []


def test_passing_the_run_cap_wakes_the_supervisor_and_a_report_renews_the_files():
    run = make_run(max_minor_issues_total=1)
    phase = run.phases.get(phase_id="P1")
    ledger.record(phase.pk, [report("a")], reporter="b")
    assert set(Outbox.objects.values_list("topic", "key")) == {("artefacts.write", run.run_id)}
    ledger.record(phase.pk, [report("b")], reporter="b")
    assert ("run.step", run.run_id) in set(Outbox.objects.values_list("topic", "key"))


def _statements(phase: Phase, key: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        ledger.record(phase.pk, [report(key)], reporter="b")
    return [query["sql"] for query in captured.captured_queries]


def _fill(phase: Phase, number: int) -> None:
    ledger.record(phase.pk, [report(f"filler-{index:05}") for index in range(number)], reporter="b")


def test_a_report_costs_the_same_statements_in_a_run_of_none_and_of_2000_issues():
    run = make_run(max_minor_issues_total=1_000_000)
    phase = run.phases.get(phase_id="P1")
    _fill(phase, 1)  # the strategy's rules are read once a process
    new, again = len(_statements(phase, "a")), len(_statements(phase, "a"))
    _fill(phase, 2000)
    assert (len(_statements(phase, "b")), len(_statements(phase, "b"))) == (new, again)
    assert new <= 18
    assert again <= 16


def test_the_rows_of_a_key_are_found_by_index_among_many():
    run = make_run()
    phase = run.phases.get(phase_id="P1")
    _fill(phase, 2000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE issues_issue, issues_runindexentry, issues_tierissue, issues_backlogentry")
        for table, column, value, name in (
            ("issues_issue", "phase_id", phase.pk, "one_issue_a_key_and_phase"),
            ("issues_tierissue", "tier_id", phase.tier_id, "one_issue_a_key_and_tier"),
            ("issues_runindexentry", "run_id", run.pk, "one_issue_a_key_and_run"),
            ("issues_backlogentry", "project_id", run.project_id, "one_issue_a_key_and_project"),
        ):
            cursor.execute(
                f"EXPLAIN SELECT * FROM {table} WHERE {column} = %s AND issue_key IN ('filler-00100')",
                [value],
            )
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert name in plan, plan
            assert "Seq Scan" not in plan


def test_tiers_of_other_runs_are_not_counted():
    project = make_project()
    one, other = make_run(project), make_run(project)
    ledger.record(one.phases.get(phase_id="P1").pk, [report()], reporter="b")
    assert counts(Tier.objects.get(run=other)) == counts(other) == (0, 0)


@pytest.mark.django_db
def test_messages_are_read_before_any_lock_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand messages that are slow to read must not keep a project's other reporters waiting."""
    phase = make_run().phases.get(phase_id="P1")
    steps: list[str] = []
    for name in ("names_of", "_lock_run_of", "lock_backlog"):
        real = getattr(services, name)

        def noted(*args: object, name: str = name, real: Any = real, **fields: object) -> object:
            steps.append(name)
            return real(*args, **fields)

        monkeypatch.setattr(services, name, noted)
    ledger.record(phase.pk, [report("a"), report("b")], reporter="x")
    assert steps == ["names_of", "names_of", "_lock_run_of", "lock_backlog"]
