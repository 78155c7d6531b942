"""Gauges say how things stand at the scrape."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from autopack_site.kernel import clock
from issues.ledger import DatabaseLedger
from runs.lifecycle import RunState
from runs.models import Lease, Outbox
from tests.factories import make_project, make_run
from tests.integration.metrics.rows import ago, attempt, scraped
from tests.issues.reports import report

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_redis(redis_url: str) -> None:
    """Every test starts with an empty broker."""


def test_runs_are_counted_by_state_and_a_state_without_runs_is_zero():
    project = make_project()
    for state, count in (("GATE", 2), ("PHASE_QUEUEING", 1)):
        for _ in range(count):
            make_run(project, state=state)
    make_run(project, state="DONE_SUCCESS", completed_at=clock.now())
    runs = scraped()["autopack_runs"]
    assert {labels: value for labels, value in runs.items() if value} == {
        ("GATE",): 2, ("PHASE_QUEUEING",): 1, ("DONE_SUCCESS",): 1,
    }  # fmt: skip
    assert set(runs) == {(state,) for state in RunState}


def test_phases_of_active_runs_are_in_flight_or_wait():
    run = make_run(phases_per_tier=6)
    for phase_id, fields in (
        ("P1", {"state": "EXECUTING"}),
        ("P2", {"state": "GATE"}),
        ("P3", {"state": "CI_RUNNING"}),
        ("P4", {"ready_at": ago(seconds=90)}),
        ("P5", {"ready_at": ago(seconds=30)}),
    ):
        run.phases.filter(phase_id=phase_id).update(**fields)
    attempt(run.phases.get(phase_id="P2"), "", kind="audit", state="WANTED", created_at=ago(seconds=45))
    ended = make_run(state="DONE_CANCELLED", completed_at=clock.now())
    ended.phases.update(ready_at=ago(days=1))
    found = scraped()
    assert found["autopack_phases_in_flight"] == {("EXECUTING",): 1, ("GATE",): 1, ("CI_RUNNING",): 1}
    assert found["autopack_phases_waiting"] == {("claim",): 2, ("audit",): 1, ("turn",): 1}
    ages = found["autopack_phases_waiting_oldest_seconds"]
    assert 90 <= ages[("claim",)] < 200
    assert 45 <= ages[("audit",)] < 200


def test_the_outbox_tells_its_oldest_row_and_what_is_overdue():
    for topic, key, age, due in (
        ("run.step", "a", 50, 20),
        ("run.step", "b", 10, -60),
        ("gate.run", "c", 5, -1),
    ):
        Outbox.objects.create(topic=topic, key=key, created_at=ago(seconds=age), due_at=ago(seconds=due))
    found = scraped()
    rows = found["autopack_outbox_rows"]
    assert (rows[("run.step",)], rows[("gate.run",)], rows[("agent.work",)]) == (2, 1, 0)
    assert 50 <= found["autopack_outbox_oldest_seconds"][()] < 120
    assert 20 <= found["autopack_outbox_overdue_seconds"][()] < 50


def test_an_outbox_that_is_up_to_date_has_no_age():
    Outbox.objects.create(topic="run.step", key="a", created_at=clock.now(), due_at=ago(seconds=-60))
    assert scraped()["autopack_outbox_overdue_seconds"][()] == 0


def test_queues_are_as_long_as_the_broker_says(redis_url: str):
    with redis.Redis.from_url(redis_url) as client:
        client.rpush("gate", "m1", "m2", "m3")
        client.rpush("not-ours", "m")
    found = scraped()
    assert found["autopack_queue_messages"] == {("agent",): 0, ("gate",): 3, ("merge",): 0, ("sweep",): 0}
    assert found["autopack_broker_up"] == {(): 1}


def test_a_broker_that_is_away_costs_only_its_own_figures(settings: Any):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    found = scraped()
    assert found["autopack_broker_up"] == {(): 0}
    assert "autopack_queue_messages" not in found
    assert "autopack_runs" in found


def test_the_backlog_is_counted_by_project_and_status():
    run = make_run(make_project("shop"))
    DatabaseLedger().record(run.phases.earliest("pk").pk, [report("a"), report("b")], reporter="tests")
    found = scraped()["autopack_backlog_entries"]
    assert found[("shop", "open")] == 2
    assert found[("shop", "needs_cleanup")] == found[("shop", "resolved")] == found[("shop", "reopened")] == 0


def test_live_leases_and_open_gates_are_counted():
    run = make_run()
    one = attempt(run.phases.earliest("pk"))
    Lease.objects.create(run=run, phase=one.phase, attempt=one, owner="x", fence=1, ttl_s=1.0,
                         acquired_at=clock.now(), expires_at=clock.now())  # fmt: skip
    found = scraped()
    assert found["autopack_leases_live"] == {(): 1}
    assert found["autopack_gate_runs_open"] == {("WAITING",): 0, ("RUNNING",): 0}
    assert found["autopack_git_intents_open"] == {(): 0}


def test_sweeps_are_told_by_beats_own_record():
    every = IntervalSchedule.objects.create(every=5, period=IntervalSchedule.SECONDS)
    last = timezone.now() - timedelta(seconds=7)
    PeriodicTask.objects.create(name="sweep", task="t", interval=every, last_run_at=last, total_run_count=41)
    PeriodicTask.objects.create(name="an operator's own", task="t", interval=every, last_run_at=last)
    found = scraped()
    assert found["autopack_sweeps_sent_total"] == {("sweep",): 41}
    assert found["autopack_sweep_last_sent_timestamp_seconds"] == {
        ("sweep",): pytest.approx(last.timestamp())
    }
