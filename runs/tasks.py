"""Thin tasks: ids in, one service called. Each may run twice, or never: rows own the work."""

from __future__ import annotations

from celery import shared_task
from django.db import connection, transaction

from runs import idempotency, outbox, supervisor
from runs.sweeps import wake_runs

SWEEP_LOCK = 7_301_001


@shared_task(time_limit=600)
def step(run_id: str) -> None:
    """Bring a run as far as it can go."""
    supervisor.step(run_id)


@shared_task(time_limit=120)
def sweep() -> None:
    """Find work whose message was lost, runs that time has moved on, and answers kept long enough."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
            if not cursor.fetchone()[0]:
                return  # another beat's sweep is at work
        wake_runs()
    outbox.resend()
    idempotency.sweep()
