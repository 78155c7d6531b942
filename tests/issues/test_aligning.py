"""Issues that become one count as one in every live run that has seen them, whoever made them one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from issues.merging import merge_entries
from issues.models import Issue, TierIssue
from issues.tasks import align_runs
from runs.models import Outbox, Run, Transition
from tests.factories import make_project, make_run
from tests.issues.http import entry_of, saw
from tests.issues.reports import counts

pytestmark = pytest.mark.django_db


def at(place: str) -> dict[str, Any]:
    return {"description": "it breaks", "evidence_refs": (f"{place}.py:3",)}


def deliver() -> int:
    """Deliver the messages; return how many there were."""
    rows = list(Outbox.objects.filter(topic="issues.align"))
    for row in rows:
        align_runs(**row.reference)
    return len(rows)


def two_runs() -> tuple[Run, Run]:
    project = make_project()
    first, second = make_run(project, tiers=2, phases_per_tier=1), make_run(project)
    saw(first, "b", **at("p"))
    saw(first, "c", **at("q"))
    saw(first, "c", phase_id="P2", **at("q"))
    assert counts(first) == (2, 0)
    return first, second


def test_a_joint_of_one_run_s_report_lowers_the_counts_of_another_live_run() -> None:
    first, second = two_runs()
    saw(second, "b", **at("q"))
    assert counts(second) == (1, 0)
    assert deliver() == 1
    assert counts(first) == (1, 0)
    assert [counts(tier) for tier in first.tiers.order_by("tier_index")] == [(1, 0), (1, 0)]
    assert [counts(phase) for phase in first.phases.order_by("phase_index")] == [(1, 0), (1, 0)]
    for rows in (Issue.objects.all(), TierIssue.objects.all()):
        assert set(rows.values_list("issue_key", flat=True)) == {"b"}
    row = Transition.objects.get(run=first, event="issues_joined")
    assert (row.who, row.data["minor_issues"], row.data["joined"]) == ("autopack", [2, 1], {"c": "b"})
    assert deliver() == 0


def test_a_merge_lowers_the_counts_of_live_runs_before_they_see_the_issue_again() -> None:
    first, _second = two_runs()
    merge_entries(entry_of("c").pk, [entry_of("b").pk], by="ann", why="one")
    assert deliver() == 1
    assert counts(first) == (1, 0)
    assert list(first.issue_index.values_list("issue_key", "occurrence_count")) == [("c", 3)]


def test_a_run_that_has_ended_keeps_the_counts_that_it_was_judged_by() -> None:
    first, second = two_runs()
    Run.objects.filter(pk=first.pk).update(state="DONE_CANCELLED", completed_at=first.created_at)
    saw(second, "b", **at("q"))
    assert deliver() == 0
    assert align_runs(first.project_id) is None
    assert counts(first) == (2, 0)


def test_no_message_is_left_where_no_other_run_has_seen_the_lost_key() -> None:
    run = make_run()
    saw(run, "b", **at("p"))
    saw(run, "a", **at("p"))
    saw(make_run(make_project("side")), "b")
    assert not Outbox.objects.filter(topic="issues.align").exists()


def test_a_run_is_brought_into_line_by_as_many_statements_however_many_rows_it_holds() -> None:
    taken = []
    for size in (2, 40):
        project = make_project(f"p{size}")
        run = make_run(project)
        saw(run, *(f"k{number:02}" for number in range(size)))
        keys = [entry_of(f"k{number:02}", project).pk for number in range(size)]
        merge_entries(keys[0], keys[1:], by="ann", why="one")
        with CaptureQueriesContext(connection) as captured:
            align_runs(project.pk)
        taken.append(len(captured))
        assert counts(run) == (1, 0)
    assert taken[0] == taken[1]


@pytest.mark.django_db(transaction=True)
def test_joints_reports_and_alignments_of_many_runs_never_wait_for_each_other_in_a_circle() -> None:
    project = make_project()
    runs = [make_run(project, max_minor_issues_total=10_000) for _ in range(4)]
    start, faults = threading.Barrier(6), list[BaseException]()

    def guarded(job: Callable[[], None]) -> None:
        try:
            start.wait(30)
            job()
        except BaseException as error:
            faults.append(error)
        finally:
            connections.close_all()

    def report(run: Run, number: int) -> Callable[[], None]:
        def job() -> None:
            for step in range(12):
                saw(run, f"{number}-{step}", **at(f"d{chr(97 + step)}"))

        return job

    def align() -> None:
        for _ in range(15):
            align_runs(project.pk)

    jobs = [*(report(run, 4 - number) for number, run in enumerate(runs)), align, align]
    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    align_runs(project.pk)
    assert [counts(run) for run in runs] == [(12, 0)] * 4
    assert set(Issue.objects.values_list("issue_key", flat=True)) == {f"1-{n}" for n in range(12)}
    assert not Outbox.objects.filter(topic="issues.align").exists()
