"""Every (state, event) pair of every machine: the legal moves are spelled out here once more, by hand."""

from __future__ import annotations

import itertools

import pytest

from autopack_site.kernel.errors import IllegalTransition
from runs import lifecycle
from runs.lifecycle import (
    ACTIVE_RUN_STATES,
    CAUSE_EVENTS,
    CAUSE_STATES,
    LIVE_RUN_STATES,
    PhaseState,
    RunState,
    TierState,
    after,
    shown_run_state,
)

PHASE = {
    "QUEUED": {"claimed": "EXECUTING", "skipped": "SKIPPED", "failed": "FAILED", "cancelled": "SKIPPED"},
    "EXECUTING": {
        "applied": "GATE",
        "requeued": "QUEUED",
        "audit_wanted": "GATE",
        "failed": "FAILED",
        "cancelled": "FAILED",
    },
    "GATE": {
        "gate_started": "CI_RUNNING",
        "requeued": "QUEUED",
        "merged": "COMPLETE",
        "failed": "FAILED",
        "cancelled": "FAILED",
    },
    "CI_RUNNING": {
        "requeued": "QUEUED",
        "audit_wanted": "GATE",
        "rebased": "GATE",
        "interrupted": "GATE",
        "merged": "COMPLETE",
        "failed": "FAILED",
        "cancelled": "FAILED",
    },
    "COMPLETE": {},
    "FAILED": {},
    "SKIPPED": {},
}
TIER = {
    "PENDING": {"started": "IN_PROGRESS", "skipped": "SKIPPED"},
    "IN_PROGRESS": {"completed": "COMPLETE", "failed": "FAILED", "skipped": "SKIPPED"},
    "COMPLETE": {},
    "FAILED": {},
    "SKIPPED": {},
}
ENDS = {
    "budget_exhausted": "DONE_FAILED_BUDGET_EXHAUSTED",
    "policy_violated": "DONE_FAILED_POLICY_VIOLATION",
    "gate_failed": "DONE_FAILED_GATE",
    "review_required": "DONE_FAILED_REQUIRES_HUMAN_REVIEW",
    "environment_failed": "DONE_FAILED_ENVIRONMENT",
    "cancelled": "DONE_CANCELLED",
}
SHOWS = {
    "queued": "PHASE_QUEUEING",
    "execution_seen": "PHASE_EXECUTION",
    "gate_seen": "GATE",
    "checks_seen": "CI_RUNNING",
    "snapshot_created": "SNAPSHOT_CREATED",
}


def shows_from(state: str) -> dict[str, str]:
    return {event: new for event, new in SHOWS.items() if new != state}


RUN: dict[str, dict[str, str]] = {
    "PLAN_BOOTSTRAP": {"compiled": "RUN_CREATED", **ENDS},
    "RUN_CREATED": {"prepared": "PHASE_QUEUEING", **ENDS},
    "PHASE_QUEUEING": {"succeeded": "DONE_SUCCESS", **shows_from("PHASE_QUEUEING"), **ENDS},
    "PHASE_EXECUTION": {**shows_from("PHASE_EXECUTION"), **ENDS},
    "GATE": {**shows_from("GATE"), **ENDS},
    "CI_RUNNING": {**shows_from("CI_RUNNING"), **ENDS},
    "SNAPSHOT_CREATED": {"succeeded": "DONE_SUCCESS", **shows_from("SNAPSHOT_CREATED"), **ENDS},
    **{str(state): {} for state in RunState if state.startswith("DONE_")},
}
EXPECTED = {"run": RUN, "tier": TIER, "phase": PHASE}
STATES = {"run": RunState, "tier": TierState, "phase": PhaseState}
ALL_EVENTS = sorted({event for table in EXPECTED.values() for row in table.values() for event in row})
PAIRS = [
    (machine, str(state), event)
    for machine, states in STATES.items()
    for state, event in itertools.product(states, ALL_EVENTS)
]


@pytest.mark.parametrize(("machine", "state", "event"), PAIRS)
def test_every_state_and_event_leads_where_the_specification_says(
    machine: str, state: str, event: str
) -> None:
    moves = lifecycle.MACHINES[machine]
    expected = EXPECTED[machine][state].get(event)
    if expected is None:
        with pytest.raises(IllegalTransition) as refused:
            after(moves, state, event)
        assert refused.value.status == 409
    else:
        assert after(moves, state, event) == expected


def test_the_tables_here_name_every_state() -> None:
    for machine, states in STATES.items():
        assert set(EXPECTED[machine]) == {str(state) for state in states}


def test_no_move_leaves_a_terminal_state() -> None:
    for machine, terminal in (
        ("run", lifecycle.TERMINAL_RUN_STATES),
        ("tier", lifecycle.TERMINAL_TIER_STATES),
        ("phase", lifecycle.TERMINAL_PHASE_STATES),
    ):
        assert not [key for key in lifecycle.MACHINES[machine] if key[0] in terminal]


def test_every_active_run_can_reach_every_failed_state() -> None:
    for state, cause in itertools.product(ACTIVE_RUN_STATES, CAUSE_STATES):
        assert after(lifecycle.RUN_MOVES, state, CAUSE_EVENTS[cause]) == CAUSE_STATES[cause]


def test_completion_is_reached_by_a_merge_only() -> None:
    into = {event for (_, event), new in lifecycle.PHASE_MOVES.items() if new == PhaseState.COMPLETE}
    assert into == {"merged"}


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ([], "PHASE_QUEUEING"),
        (["QUEUED", "COMPLETE"], "PHASE_QUEUEING"),
        (["EXECUTING", "QUEUED"], "PHASE_EXECUTION"),
        (["EXECUTING", "GATE"], "GATE"),
        (["CI_RUNNING", "GATE", "EXECUTING"], "CI_RUNNING"),
        (["FAILED", "SKIPPED"], "PHASE_QUEUEING"),
    ],
)
def test_a_live_run_shows_its_most_advanced_live_phase(states: list[str], shown: str) -> None:
    assert shown_run_state(states) == shown
    assert shown in LIVE_RUN_STATES
