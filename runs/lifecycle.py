"""The state machines as data (SPEC section 3), and the one pure function that reads them.

No ORM, no clock: a table maps (state, event) to the next state; what is not in it is an illegal move.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from autopack_site.kernel.errors import IllegalTransition


class RunState(StrEnum):
    """States of a run. Clients know the first twelve; the last two are additions."""

    PLAN_BOOTSTRAP = "PLAN_BOOTSTRAP"
    RUN_CREATED = "RUN_CREATED"
    PHASE_QUEUEING = "PHASE_QUEUEING"
    PHASE_EXECUTION = "PHASE_EXECUTION"
    GATE = "GATE"
    CI_RUNNING = "CI_RUNNING"
    SNAPSHOT_CREATED = "SNAPSHOT_CREATED"
    DONE_SUCCESS = "DONE_SUCCESS"
    DONE_FAILED_BUDGET_EXHAUSTED = "DONE_FAILED_BUDGET_EXHAUSTED"
    DONE_FAILED_POLICY_VIOLATION = "DONE_FAILED_POLICY_VIOLATION"
    DONE_FAILED_REQUIRES_HUMAN_REVIEW = "DONE_FAILED_REQUIRES_HUMAN_REVIEW"
    DONE_FAILED_ENVIRONMENT = "DONE_FAILED_ENVIRONMENT"
    DONE_FAILED_GATE = "DONE_FAILED_GATE"
    DONE_CANCELLED = "DONE_CANCELLED"


class TierState(StrEnum):
    """States of a tier."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class PhaseState(StrEnum):
    """States of a phase. GATE: a candidate waits for gate or audit; CI_RUNNING: the gate works."""

    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    GATE = "GATE"
    CI_RUNNING = "CI_RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class AttemptState(StrEnum):
    """States of one attempt, a build or an audit."""

    WANTED = "WANTED"  # an audit that nobody claimed yet
    RUNNING = "RUNNING"  # under a lease
    SUBMITTED = "SUBMITTED"  # a patch waits to be judged and built
    CANDIDATE = "CANDIDATE"  # the candidate commit exists and waits for its gate
    GATING = "GATING"  # its gate is under way
    GREEN = "GREEN"  # the gate passed it
    MERGING = "MERGING"  # an intent to move the branch is recorded
    MERGED = "MERGED"
    RED = "RED"
    REFUSED = "REFUSED"  # the judge or git refused the patch
    FAILED = "FAILED"  # the agent gave nothing usable
    LOST = "LOST"  # its lease ran out
    DECIDED = "DECIDED"  # an audit with its verdict
    DROPPED = "DROPPED"  # overtaken: cancelled, or replaced by a later attempt


class Cause(StrEnum):
    """Why a phase or run failed; each leads to one terminal state (CAUSE_STATES)."""

    BUDGET = "budget"
    POLICY = "policy"
    GATE = "gate"
    REVIEW = "review"
    ENVIRONMENT = "environment"
    CANCELLED = "cancelled"


Moves = Mapping[tuple[str, str], str]

LIVE_RUN_STATES = (
    RunState.PHASE_QUEUEING,
    RunState.PHASE_EXECUTION,
    RunState.GATE,
    RunState.CI_RUNNING,
    RunState.SNAPSHOT_CREATED,
)
ACTIVE_RUN_STATES = (RunState.PLAN_BOOTSTRAP, RunState.RUN_CREATED, *LIVE_RUN_STATES)
TERMINAL_RUN_STATES = tuple(state for state in RunState if state.startswith("DONE_"))
TERMINAL_TIER_STATES = (TierState.COMPLETE, TierState.FAILED, TierState.SKIPPED)
TERMINAL_PHASE_STATES = (PhaseState.COMPLETE, PhaseState.FAILED, PhaseState.SKIPPED)
LIVE_PHASE_STATES = (PhaseState.EXECUTING, PhaseState.GATE, PhaseState.CI_RUNNING)

CAUSE_STATES: dict[Cause, RunState] = {
    Cause.BUDGET: RunState.DONE_FAILED_BUDGET_EXHAUSTED,
    Cause.POLICY: RunState.DONE_FAILED_POLICY_VIOLATION,
    Cause.GATE: RunState.DONE_FAILED_GATE,
    Cause.REVIEW: RunState.DONE_FAILED_REQUIRES_HUMAN_REVIEW,
    Cause.ENVIRONMENT: RunState.DONE_FAILED_ENVIRONMENT,
    Cause.CANCELLED: RunState.DONE_CANCELLED,
}
CAUSE_EVENTS: dict[Cause, str] = {
    Cause.BUDGET: "budget_exhausted",
    Cause.POLICY: "policy_violated",
    Cause.GATE: "gate_failed",
    Cause.REVIEW: "review_required",
    Cause.ENVIRONMENT: "environment_failed",
    Cause.CANCELLED: "cancelled",
}
# The state a live run shows, and the event that brings it there.
SHOW_EVENTS: dict[RunState, str] = {
    RunState.PHASE_QUEUEING: "queued",
    RunState.PHASE_EXECUTION: "execution_seen",
    RunState.GATE: "gate_seen",
    RunState.CI_RUNNING: "checks_seen",
    RunState.SNAPSHOT_CREATED: "snapshot_created",
}


def _run_moves() -> dict[tuple[str, str], str]:
    moves: dict[tuple[str, str], str] = {
        (RunState.PLAN_BOOTSTRAP, "compiled"): RunState.RUN_CREATED,
        (RunState.RUN_CREATED, "prepared"): RunState.PHASE_QUEUEING,
        (RunState.PHASE_QUEUEING, "succeeded"): RunState.DONE_SUCCESS,
        (RunState.SNAPSHOT_CREATED, "succeeded"): RunState.DONE_SUCCESS,
    }
    for old in LIVE_RUN_STATES:
        for new, event in SHOW_EVENTS.items():
            if old != new:
                moves[old, event] = new
    for state in ACTIVE_RUN_STATES:
        for cause, event in CAUSE_EVENTS.items():
            moves[state, event] = CAUSE_STATES[cause]
    return moves


RUN_MOVES: Moves = _run_moves()

TIER_MOVES: Moves = {
    (TierState.PENDING, "started"): TierState.IN_PROGRESS,
    (TierState.PENDING, "skipped"): TierState.SKIPPED,
    (TierState.IN_PROGRESS, "completed"): TierState.COMPLETE,
    (TierState.IN_PROGRESS, "failed"): TierState.FAILED,
    (TierState.IN_PROGRESS, "skipped"): TierState.SKIPPED,
}

PHASE_MOVES: Moves = {
    (PhaseState.QUEUED, "claimed"): PhaseState.EXECUTING,
    (PhaseState.QUEUED, "skipped"): PhaseState.SKIPPED,
    (PhaseState.QUEUED, "failed"): PhaseState.FAILED,
    (PhaseState.QUEUED, "cancelled"): PhaseState.SKIPPED,
    (PhaseState.EXECUTING, "applied"): PhaseState.GATE,
    (PhaseState.EXECUTING, "requeued"): PhaseState.QUEUED,
    (PhaseState.EXECUTING, "audit_wanted"): PhaseState.GATE,
    (PhaseState.EXECUTING, "failed"): PhaseState.FAILED,
    (PhaseState.EXECUTING, "cancelled"): PhaseState.FAILED,
    (PhaseState.GATE, "gate_started"): PhaseState.CI_RUNNING,
    (PhaseState.GATE, "requeued"): PhaseState.QUEUED,
    (PhaseState.GATE, "merged"): PhaseState.COMPLETE,
    (PhaseState.GATE, "failed"): PhaseState.FAILED,
    (PhaseState.GATE, "cancelled"): PhaseState.FAILED,
    (PhaseState.CI_RUNNING, "requeued"): PhaseState.QUEUED,
    (PhaseState.CI_RUNNING, "audit_wanted"): PhaseState.GATE,
    (PhaseState.CI_RUNNING, "rebased"): PhaseState.GATE,
    (PhaseState.CI_RUNNING, "interrupted"): PhaseState.GATE,
    (PhaseState.CI_RUNNING, "merged"): PhaseState.COMPLETE,
    (PhaseState.CI_RUNNING, "failed"): PhaseState.FAILED,
    (PhaseState.CI_RUNNING, "cancelled"): PhaseState.FAILED,
}

# The states that an operator may ask for by hand, and the event that each stands for. The others follow from
# candidates, gates and merges alone.
HAND_EVENTS: dict[PhaseState, str] = {
    PhaseState.QUEUED: "requeued",
    PhaseState.EXECUTING: "claimed",
    PhaseState.FAILED: "failed",
    PhaseState.SKIPPED: "skipped",
}

MACHINES: dict[str, Moves] = {"run": RUN_MOVES, "tier": TIER_MOVES, "phase": PHASE_MOVES}


def after(moves: Moves, state: str, event: str) -> str:
    """Return the state that event leads to from state; raise IllegalTransition (409) where there is none."""
    try:
        return moves[state, event]
    except KeyError:
        raise IllegalTransition(str(state), event) from None


def shown_run_state(phase_states: list[str]) -> RunState:
    """Return what a live run shows: the most advanced of its live phases, else PHASE_QUEUEING."""
    for phase, run in (
        (PhaseState.CI_RUNNING, RunState.CI_RUNNING),
        (PhaseState.GATE, RunState.GATE),
        (PhaseState.EXECUTING, RunState.PHASE_EXECUTION),
    ):
        if phase in phase_states:
            return run
    return RunState.PHASE_QUEUEING
