"""Thin tasks: one service called. Each may run twice, or never: rows own the work."""

from __future__ import annotations

from celery import shared_task

from issues.sweeps import sweep_backlogs


@shared_task(time_limit=900)
def age_backlogs() -> None:
    """Age every project's backlog for what began, and mark what has reached a threshold."""
    sweep_backlogs()
