"""What a run does right now, in lines for people: who works since when, and what is waited for.

Asked for while a watched run has no event to show: a long build, a missing worker and a phase that nobody builds look
alike from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autopack_site.kernel import clock
from runs.agents import agents_for, serving
from runs.authorship import barred_from
from runs.lifecycle import AttemptState, PhaseState, RunState
from runs.models import Attempt, Phase, Run

_WORDS = {
    AttemptState.SUBMITTED: "its patch is being judged",
    AttemptState.CANDIDATE: "its patch waits for a gate",
    AttemptState.GATING: "in its gate",
    AttemptState.GREEN: "its patch is about to land",
    AttemptState.MERGING: "its patch is landing",
}


@dataclass(frozen=True)
class Doing:
    """One line. `is_waiting` where nobody is at work: somebody may have to be started."""

    text: str
    is_waiting: bool


def doing(run_id: str) -> list[Doing]:
    """Return what the run does now, in the order of its phases: three queries. Nothing for one that has ended."""
    run = Run.objects.select_related("previous").get(pk=run_id)
    if run.is_terminal:
        return []
    if run.state == RunState.RUN_CREATED:
        return [_before(run)]
    phases = list(run.phases.order_by("tier__tier_index", "phase_index", "phase_id"))
    rows = run.attempts.select_related("target").defer("patch", "target__patch").open().order_by("created_at")
    attempts = {attempt.phase_id: attempt for attempt in rows}
    now = clock.now()
    found = (_of(run, phase, attempts.get(phase.pk), now) for phase in phases if not phase.is_terminal)
    return [line for line in found if line is not None]


def _before(run: Run) -> Doing:
    if run.previous is not None and not run.previous.is_terminal:
        return Doing(f"waits for run {run.previous_id} to end", is_waiting=True)
    return Doing("waits for a worker to fetch the repository (`make up` starts the workers)", is_waiting=True)


def _of(run: Run, phase: Phase, attempt: Attempt | None, now: datetime) -> Doing | None:
    name = phase.phase_id
    if attempt is not None and attempt.state == AttemptState.RUNNING:
        what = "audited" if attempt.kind == Attempt.Kind.AUDIT else "built"
        return Doing(
            f"{name}: {what} by {attempt.agent} for {_long(now - attempt.created_at)}", is_waiting=False
        )
    if attempt is not None and attempt.state == AttemptState.WANTED:
        if attempt.target is not None:
            attempt.target.phase = phase
        return Doing(f"{name}: {_claim(run, phase, 'audit', but=barred_from(attempt))}", is_waiting=True)
    if attempt is not None and attempt.state in _WORDS:
        return Doing(f"{name}: {_WORDS[AttemptState(attempt.state)]}", is_waiting=False)
    if phase.state == PhaseState.QUEUED and phase.ready_at is not None:
        return Doing(f"{name}: {_claim(run, phase, 'build')}", is_waiting=True)
    return None  # its turn has not come


def _claim(run: Run, phase: Phase, kind: str, *, but: str = "") -> str:
    until = f" until {phase.claim_deadline_at:%H:%M:%S} UTC" if phase.claim_deadline_at else ""
    role = "Auditor" if kind == "audit" else "builder"
    if agent := serving(run, phase, kind, but=but):
        return f"waits for a worker to start {agent.name}{until}"
    listed = [agent for agent in agents_for(run, phase, kind) if agent.name != but]
    if listed:
        return f"waits for {' or '.join(agent.name for agent in listed)} to claim it{until}"
    return f"no {role} of the project takes {phase.task_category}: waits for a claim over HTTP{until}"


def _long(span: timedelta) -> str:
    seconds = max(int(span.total_seconds()), 0)
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
