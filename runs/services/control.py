"""What operators do, and what the apps above report into a run."""

from __future__ import annotations

from django.db.models import F

from runs import outbox
from runs.endings import end_run
from runs.errors import RunEnded
from runs.lifecycle import Cause
from runs.models import Phase, Run, Tier
from runs.supervisor import locked_run


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
) -> None:
    """Add to the counts of distinct issues of a phase, its tier and its run; in the caller's transaction.

    Deltas may be negative (an issue that becomes major is no longer minor). When a cap may be passed the
    supervisor is woken.
    """
    if phase_minor or phase_major:
        Phase.objects.filter(pk=phase_pk).update(
            minor_issues_count=F("minor_issues_count") + phase_minor,
            major_issues_count=F("major_issues_count") + phase_major,
        )
    if tier_minor or tier_major:
        Tier.objects.filter(phases=phase_pk).update(
            minor_issues_count=F("minor_issues_count") + tier_minor,
            major_issues_count=F("major_issues_count") + tier_major,
        )
    if run_minor or run_major:
        Run.objects.filter(phases=phase_pk).update(
            minor_issues_count=F("minor_issues_count") + run_minor,
            major_issues_count=F("major_issues_count") + run_major,
        )
        _wake_over_cap(phase_pk)


def _wake_over_cap(phase_pk: int) -> None:
    run = (
        Run.objects.active()
        .filter(phases=phase_pk)
        .only(
            "run_id", "minor_issues_count", "max_minor_issues_total", "major_issues_count", "safety_profile"
        )
        .first()
    )
    if run is None:
        return
    if run.minor_issues_count > run.max_minor_issues_total or (
        run.safety_profile == "safety_critical" and run.major_issues_count
    ):
        outbox.enqueue("run.step", run.run_id, run_id=run.run_id)
