"""Ended runs and their attempts, written directly, for replays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from autopack_site.kernel import clock
from runs.models import Attempt, Run
from strategy.models import Project
from tests.factories import make_run

START = clock.now().replace(year=2026, month=1, day=5)


def ended(project: Project, run_id: str, *, age_days: int = 0, minutes: int = 30, **fields: Any) -> Run:
    """Write an ended run of two phases of docs."""
    at = START - timedelta(days=age_days)
    fields.setdefault("task_category", "docs")
    return make_run(
        project, run_id=run_id, state="DONE_SUCCESS", created_at=at, started_at=at,
        completed_at=at + timedelta(minutes=minutes), **fields,
    )  # fmt: skip


def attempt(run: Run, phase_id: str, kind: str, state: str, tokens: int | None, **fields: Any) -> None:
    number = run.attempts.count() + 1
    Attempt.objects.create(
        run=run, phase=run.phases.get(phase_id=phase_id), kind=kind, number=number, state=state, tokens_used=tokens,
        created_at=START + timedelta(seconds=number), **fields,
    )  # fmt: skip


def row(answer: dict[str, Any], run_id: str) -> dict[str, Any]:
    return next(found for found in answer["runs"] if found["run_id"] == run_id)


def stops(answer: dict[str, Any], run_id: str) -> list[tuple[str, str]]:
    return [(stop["cap"], stop["place"]) for stop in row(answer, run_id)["stops"]]
