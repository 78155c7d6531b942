"""What operators do, and what the apps above report into a run."""

from __future__ import annotations

from autopack_site.kernel.statements import Statement
from runs import outbox
from runs.endings import end_run
from runs.errors import PhaseNotFound, RunEnded
from runs.lifecycle import ACTIVE_RUN_STATES, Cause
from runs.models import Run
from runs.supervisor import locked_run

# One statement, as it is part of every report: three rows by their keys, and what the caps are judged by.
_count = Statement(
    """
WITH phase AS (
    UPDATE runs_phase SET minor_issues_count = minor_issues_count + %s, major_issues_count = major_issues_count + %s
    WHERE id = %s RETURNING run_id, tier_id, minor_issues_count AS minor, major_issues_count AS major
), tier AS (
    UPDATE runs_tier AS t SET minor_issues_count = minor_issues_count + %s,
        major_issues_count = major_issues_count + %s
    FROM phase WHERE t.id = phase.tier_id
)
UPDATE runs_run AS r SET minor_issues_count = minor_issues_count + %s, major_issues_count = major_issues_count + %s
FROM phase WHERE r.run_id = phase.run_id
RETURNING phase.minor, phase.major,
    r.run_id, r.state, r.safety_profile, r.minor_issues_count, r.max_minor_issues_total, r.major_issues_count
""",
    label="count_issues",
)
_counts = Statement(
    "SELECT minor_issues_count, major_issues_count FROM runs_phase WHERE id = %s", label="issue_counts"
)


def cancel_run(run_id: str, *, by: str, why: str) -> Run:
    """End a run as DONE_CANCELLED. Raises RunNotFound and, when it has ended already, RunEnded (409)."""
    with locked_run(run_id) as run:
        if run.is_terminal:
            raise RunEnded(f"Run {run_id} has ended: {run.state}", state=run.state)
        end_run(run, Cause.CANCELLED, "cancelled", why or "cancelled by an operator", who=by)
    return run


def note_issue_counts(
    phase_pk: int,
    *,
    phase_minor: int = 0,
    phase_major: int = 0,
    tier_minor: int = 0,
    tier_major: int = 0,
    run_minor: int = 0,
    run_major: int = 0,
) -> tuple[int, int]:
    """Add to the counts of distinct issues of a phase, its tier and its run; return the phase's (minor, major).

    In the caller's transaction, which holds the run's row lock. Raises PhaseNotFound.

    Deltas may be negative (an issue that becomes major is no longer minor). When a cap may be passed the
    supervisor is woken.
    """
    deltas = (phase_minor, phase_major, tier_minor, tier_major, run_minor, run_major)
    is_change = any(deltas)
    found = _count([*deltas[:2], phase_pk, *deltas[2:]]) if is_change else _counts([phase_pk])
    if not found:
        raise PhaseNotFound(f"Phase {phase_pk} not found")
    in_phase = found[0][:2]
    if not is_change:
        return in_phase
    run_id, state, safety_profile, minor, cap, major = found[0][2:]
    is_over = minor > cap or (safety_profile == "safety_critical" and major)
    if (run_minor or run_major) and is_over and state in ACTIVE_RUN_STATES:
        outbox.enqueue("run.step", run_id, run_id=run_id)
    return in_phase
