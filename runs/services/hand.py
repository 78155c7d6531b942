"""What an operator may do to a phase by hand: the moves of the table, with the obligations that each carries.

A move by hand ends like the supervisor's own: leases released, attempts closed and settled, gates called off.
Completion is none of them: it follows from gate evidence (ENGINE).
"""

from __future__ import annotations

from collections.abc import Mapping

from autopack_site.kernel.errors import Conflict, IllegalTransition
from runs import budgets, ports
from runs.endings import drop_open_work, fail_phase, skip_phase
from runs.errors import AttemptsUsed, EvidenceMissing, MergePending, PhaseNotReady, RunEnded
from runs.judgement import is_approved, needs_approval
from runs.lifecycle import HAND_EVENTS, PHASE_MOVES, AttemptState, Cause, PhaseState, after
from runs.models import Phase, Run
from runs.services.claims import claim_phase
from runs.services.lookup import phase_of, reload
from runs.supervisor import locked_run
from runs.transitions import move, note

_LANDING = (AttemptState.GREEN, AttemptState.MERGING)


def set_phase_state(
    run_id: str,
    phase_id: str,
    *,
    state: PhaseState,
    by: str,
    why: str = "",
    tokens_used: int | None = None,
    counts: Mapping[str, int] | None = None,
) -> None:
    """Move a phase by hand, book its absolute tokens, and note counts that differ from the derived ones.

    The state that it has already is no move. QUEUED takes it back from whoever works on it, EXECUTING claims it
    for the operator, FAILED and SKIPPED end it. Raises RunNotFound, PhaseNotFound, IllegalTransition, RunEnded,
    EvidenceMissing (COMPLETE), MergePending, AttemptsUsed, and what a claim raises. A refusal changes nothing,
    but the tokens of a phase that has ended are booked all the same: nothing is refused because it came late.
    """
    try:
        with locked_run(run_id) as run:
            phase = phase_of(run, phase_id)
            _book(run, phase, tokens_used, by)
            if phase.state != state:
                _move(run, phase, state, by, why)
            _compare(phase, counts or {}, by)
    except Conflict:
        with locked_run(run_id) as run:
            phase = phase_of(run, phase_id)
            if phase.is_terminal or run.is_terminal:
                _book(run, phase, tokens_used, by)
        raise


def _book(run: Run, phase: Phase, tokens: int | None, by: str) -> None:
    if tokens is None:
        return
    before = phase.tokens_used
    if budgets.adjust(phase, tokens, reason="set by an operator"):
        note(phase, "tokens_adjusted", who=by, data={"from": before, "to": tokens})
        reload(phase, run)


def _compare(phase: Phase, counts: Mapping[str, int], by: str) -> None:
    """Note the counts that differ. They are derived: saying another value changes nothing."""
    phase.refresh_from_db()
    differing = {
        name: {"reported": value, "derived": getattr(phase, name)}
        for name, value in counts.items()
        if value != getattr(phase, name)
    }
    if differing:
        note(phase, "counts_differ", who=by, data=differing)


def _move(run: Run, phase: Phase, state: PhaseState, by: str, why: str) -> None:
    if state == PhaseState.COMPLETE:
        raise _not_complete(phase)
    if state not in HAND_EVENTS:
        raise IllegalTransition(phase.state, f"hand to {state}")
    after(PHASE_MOVES, phase.state, HAND_EVENTS[state])
    if run.is_terminal:
        raise RunEnded(f"Run {run.run_id} has ended: {run.state}", state=run.state)
    if phase.attempts.filter(state=AttemptState.MERGING).exists():
        raise MergePending(f"A candidate of phase {phase.phase_id} is landing on the branch")
    reason = why or f"{state} by hand"
    if state == PhaseState.QUEUED:
        _requeue(phase, by, reason)
    elif state == PhaseState.EXECUTING:
        _claim(run, phase, by)
    elif state == PhaseState.FAILED:
        fail_phase(phase, Cause.REVIEW, "operator-failed", reason, who=by)
    else:
        skip_phase(phase, reason, code="operator-skipped", who=by)


def _not_complete(phase: Phase) -> Conflict:
    """Return why the phase can't be called COMPLETE: nothing supports it, or its merge will say so itself."""
    landing = phase.attempts.builds().filter(state__in=_LANDING).order_by("-created_at").first()
    if landing is None or not ports.gates().is_green(landing.pk):
        return EvidenceMissing(f"No gate evidence lets phase {phase.phase_id} be complete", state=phase.state)
    if needs_approval(phase, landing) and not is_approved(landing):
        return EvidenceMissing("The gate is green, but no Auditor has approved the patch", state=phase.state)
    return MergePending(f"The green candidate of phase {phase.phase_id} completes it when it has landed")


def _requeue(phase: Phase, by: str, reason: str) -> None:
    """Take the phase back at no attempt's cost; one that has used them all is not given another by hand."""
    maximum = int(phase.limits["max_builder_attempts"])
    if phase.builder_attempts >= maximum:
        raise AttemptsUsed(f"All {maximum} builder attempts of phase {phase.phase_id} are used")
    drop_open_work(phase, "operator-requeued")
    move(phase, "requeued", who=by, why=reason, ready_at=None, claim_deadline_at=None)


def _claim(run: Run, phase: Phase, by: str) -> None:
    """Give the operator the phase's lease, as any builder gets it: without a heartbeat it runs out."""
    if claim_phase(run.run_id, agent=by, phase_id=phase.phase_id) is None:
        raise PhaseNotReady(
            f"Phase {phase.phase_id} can't be claimed: the run is {run.state}", state=phase.state
        )
