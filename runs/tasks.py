"""Thin tasks: ids in, one service called. Each may run twice, or never: rows own the work."""

from __future__ import annotations

from celery import shared_task

from runs import idempotency, outbox, supervisor
from runs.sweeps import wake_runs


@shared_task(time_limit=600)
def step(run_id: str) -> None:
    """Bring a run as far as it can go."""
    supervisor.step(run_id)


@shared_task(time_limit=120)
def sweep() -> None:
    """Find work whose message was lost, runs that time has moved on, and answers kept long enough."""
    wake_runs()
    outbox.resend()
    idempotency.sweep()
