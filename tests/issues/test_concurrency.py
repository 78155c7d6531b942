"""Eight clients at once, each with a connection of its own: nothing is lost, nothing counted twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from issues.ledger import DatabaseLedger
from issues.models import BacklogAging, BacklogEntry, BacklogEvent, Issue, RunIndexEntry
from runs.models import Run
from runs.supervisor import locked_run
from runs.tokens import create_token
from tests.factories import make_project, make_run
from tests.issues.reports import counts, report

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("issues.api.urls"),
]
CLIENTS = 8
EACH = 100
JOIN_S = 300
ledger = DatabaseLedger()


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Run the jobs in threads that start together; return their answers or exceptions, in order."""
    answers: list[Any] = [None] * len(jobs)
    barrier = threading.Barrier(len(jobs))

    def run(number: int) -> None:
        try:
            barrier.wait(JOIN_S)
            answers[number] = jobs[number]()
        except Exception as error:
            answers[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_S)
    assert not any(thread.is_alive() for thread in threads)
    return answers


def reporter(token: str, path: str, key: Callable[..., str], number: int = EACH) -> Callable[[], list[int]]:
    """A client that posts so many reports and returns the status codes."""

    def post() -> list[int]:
        http = APIClient()
        http.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        body = {"severity": "minor", "source": "test", "category": "test_failure"}
        return [
            http.post(path, {**body, "issue_key": key(index)}, format="json").status_code
            for index in range(number)
        ]

    return post


@pytest.mark.parametrize("spread", ["one phase", "eight phases", "eight runs"])
def test_eight_clients_with_100_issues_each_lose_none(spread):
    project = make_project()
    number_of_runs = CLIENTS if spread == "eight runs" else 1
    runs = [
        make_run(project, tiers=2, phases_per_tier=4, max_minor_issues_total=10_000)
        for _ in range(number_of_runs)
    ]
    token = create_token("agent", roles=["builder"])
    jobs = []
    for number in range(CLIENTS):
        run = runs[number % number_of_runs]
        phase_id = f"P{number + 1}" if spread == "eight phases" else "P1"
        path = f"/runs/{run.run_id}/phases/{phase_id}/record_issue"
        jobs.append(reporter(token, path, f"c{number}-{{:03}}".format))
    answers = at_once(jobs)
    assert answers == [[200] * EACH] * CLIENTS
    total = CLIENTS * EACH
    assert Issue.objects.count() == RunIndexEntry.objects.count() == BacklogEntry.objects.count() == total
    assert sum(counts(run)[0] for run in runs) == total
    for run in runs:
        assert counts(run) == (run.issue_index.count(), 0)
        assert sum(counts(tier)[0] for tier in run.tiers.all()) == run.issue_index.count()
        for phase in run.phases.all():
            assert counts(phase) == (phase.issues.count(), 0)


def test_one_key_by_eight_clients_is_one_row_with_the_right_count():
    run = make_run()
    token = create_token("agent", roles=["builder"])
    path = f"/runs/{run.run_id}/phases/P1/record_issue"
    answers = at_once([reporter(token, path, lambda _: "same", 25) for _ in range(CLIENTS)])
    assert answers == [[200] * 25] * CLIENTS
    total = CLIENTS * 25
    assert (
        Issue.objects.get().occurrence_count,
        RunIndexEntry.objects.get().occurrence_count,
        BacklogEntry.objects.get().occurrence_count,
    ) == (total, total, total)
    assert counts(run) == (1, 0)
    assert BacklogEvent.objects.filter(event="opened").count() == 1


def test_one_key_by_eight_runs_of_a_project_is_one_backlog_entry():
    project = make_project()
    phases = [make_run(project).phases.get(phase_id="P1") for _ in range(CLIENTS)]

    def job(phase) -> Callable[[], None]:
        def record() -> None:
            for number in range(20):
                ledger.record(phase.pk, [report(severity="major" if number else "minor")], reporter="b")

        return record

    assert at_once([job(phase) for phase in phases]) == [None] * CLIENTS
    assert BacklogEntry.objects.get().occurrence_count == CLIENTS * 20
    assert BacklogEvent.objects.count() == 1
    assert [counts(phase.run) for phase in phases] == [(0, 1)] * CLIENTS


def test_aging_is_once_a_run_and_tier_when_eight_workers_begin_them_at_once():
    project = make_project()
    first = make_run(project)
    keys = [report(f"k{number}") for number in range(50)]
    ledger.record(first.phases.get(phase_id="P1").pk, keys, reporter="b")
    run = make_run(project)

    def begin() -> None:
        ledger.begin_run(run.run_id, project.pk)
        ledger.begin_tier(run.run_id, "T1")

    assert at_once([begin] * CLIENTS) == [None] * CLIENTS
    assert set(BacklogEntry.objects.values_list("age_in_runs", "age_in_tiers")) == {(1, 1)}
    assert BacklogAging.objects.filter(run_id=run.run_id).count() == 2


def test_runs_that_record_and_then_age_in_one_transaction_never_deadlock():
    project = make_project(
        ruleset={"safety_profiles": {"normal": {"minor_issue_aging_tiers_threshold": 1000}}}
    )
    runs = [make_run(project, tiers=6, phases_per_tier=1) for _ in range(CLIENTS)]
    keys = [f"k{number}" for number in range(CLIENTS)]
    ledger.record(runs[0].phases.get(phase_id="P1").pk, [report(key) for key in keys], reporter="b")

    def work(run: Run, mine: list[str]) -> Callable[[], None]:
        def job() -> None:
            for number, phase in enumerate(run.phases.order_by("phase_index"), start=1):
                with transaction.atomic():
                    Run.objects.select_for_update().get(pk=run.pk)
                    ledger.record(phase.pk, [report(mine[number % CLIENTS])], reporter="b")
                    ledger.begin_tier(run.run_id, f"T{number}")
                    ledger.record(phase.pk, [report(key) for key in mine], reporter="b")

        return job

    jobs = [work(run, keys[number:] + keys[:number]) for number, run in enumerate(runs)]
    assert at_once(jobs) == [None] * CLIENTS
    assert set(BacklogEntry.objects.values_list("age_in_tiers", flat=True)) == {CLIENTS * 6}


def test_reports_and_the_supervisor_of_the_same_run_wait_for_each_other():
    run = make_run(max_minor_issues_total=10_000)
    Run.objects.filter(pk=run.pk).update(state="DONE_CANCELLED", completed_at=run.created_at)
    phase = run.phases.get(phase_id="P1")

    def supervise() -> None:
        for number in range(25):
            with locked_run(run.run_id):
                ledger.record(phase.pk, [report(f"s{number}")], reporter="gate")

    def tell() -> None:
        for number in range(25):
            ledger.record(phase.pk, [report(f"s{number}"), report(f"t{number}")], reporter="b")

    assert at_once([supervise, tell, supervise, tell]) == [None] * 4
    assert counts(run) == (50, 0)
    assert sum(Issue.objects.values_list("occurrence_count", flat=True)) == 150
