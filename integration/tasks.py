"""Thin tasks: ids in, one service called. Each may run twice, or never: rows own the work."""

from __future__ import annotations

from celery import shared_task

from integration import apply, command_agents, gate, merge, repository
from integration.artefacts import service as artefacts
from integration.metrics import totals
from runs import outbox


@shared_task(time_limit=6 * 3600)
def run_agent(phase_pk: int, kind: str) -> None:
    """Serve a phase with its project's command agent."""
    command_agents.work(phase_pk, kind)


@shared_task(time_limit=900)
def build_candidate(attempt_id: str) -> None:
    """Judge a submitted patch and build its candidate; merge it too if that is already green (a waived gate)."""
    with outbox.taken("candidate.merge") as green:
        apply.build(attempt_id)
    for row in green:
        merge.merge(row.key)


@shared_task(time_limit=900)
def merge_candidate(attempt_id: str) -> None:
    """Move a run's branch to a green candidate."""
    merge.merge(attempt_id)


@shared_task(time_limit=300)
def undo_move(intent_id: str) -> None:
    """Take back what a move that was given up left in the mirror."""
    merge.undo(intent_id)


@shared_task(time_limit=6 * 3600)
def run_gate(gate_run_id: str) -> None:
    """Run a gate to its verdict."""
    gate.execute(gate_run_id)


@shared_task(time_limit=300)
def write_artefacts(run_id: str) -> None:
    """Bring a run's files up to date."""
    artefacts.write_due(run_id)


@shared_task(time_limit=900)
def write_project_artefacts(project_id: str) -> None:
    """Bring a project's files up to date, where its backlog is too large to be written at every change."""
    artefacts.write_project_due(project_id)


@shared_task(time_limit=900)
def sweep() -> None:
    """Find gates, git intents and folders that a vanished worker left.

    Unlike the other sweeps it holds no advisory lock: a transaction would stay open for as long as git takes, and a
    session's lock is lost behind a pooler. Two at once do the work once: each row is taken by a conditional update,
    each mirror and folder under its own file lock.
    """
    gate.sweep()
    merge.recover()
    repository.sweep_work()
    repository.sweep_mirrors()


@shared_task(time_limit=6 * 3600)
def pack_mirrors() -> None:
    """Pack the mirrors in which loose objects have become many."""
    repository.pack_mirrors()


@shared_task(time_limit=900)
def seal_metrics() -> None:
    """Add up what the days that are over hold for Prometheus."""
    totals.seal()
