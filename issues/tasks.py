"""Thin tasks: one service called. Each may run twice, or never: rows own the work."""

from __future__ import annotations

from celery import shared_task

from issues import aligning, closing
from issues.reopening import judge
from issues.sweeps import sweep_backlogs


@shared_task(time_limit=900)
def age_backlogs() -> None:
    """Age every project's backlog for what began, and mark what has reached a threshold."""
    sweep_backlogs()


@shared_task(time_limit=300)
def judge_sighting(entry_id: int, commit: str, run_id: str, who: str) -> None:
    """Reopen a resolved entry if what saw it again has its fix."""
    judge(entry_id, commit, run_id=run_id, who=who)


@shared_task(time_limit=900)
def close_run(run_id: str, after: str) -> None:
    """Go on resolving what a successful run covered; the outbox knows the place, `after` is one that was."""
    closing.go_on(run_id)


@shared_task(time_limit=300)
def align_runs(project_id: int) -> None:
    """Bring live runs into line with issues that have become one, or go by another key."""
    aligning.align_runs(project_id)
