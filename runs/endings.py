"""How phases and runs end. Every function works on a run whose row the caller has locked."""

from __future__ import annotations

from autopack_site.kernel import clock
from runs import budgets, caps, meters, outbox, ports
from runs.lifecycle import CAUSE_EVENTS, AttemptState, Cause, PhaseState, RunState, TierState
from runs.models import Attempt, Lease, Phase, Run, Tier
from runs.transitions import SYSTEM, move, note


def release(lease: Lease, reason: str) -> None:
    """End a lease; its holder's next write changes nothing."""
    Lease.objects.filter(pk=lease.pk, released_at=None).update(
        released_at=clock.database_now(), release_reason=reason
    )


def close_attempt(attempt: Attempt, state: AttemptState, *, code: str = "", reason: str = "") -> None:
    """Set an attempt's last state and give back what it still holds."""
    was_running = attempt.state == AttemptState.RUNNING
    attempt.state, attempt.failure_code, attempt.failure_reason = state, code, reason[:4000]
    attempt.ended_at = clock.now()
    attempt.save(update_fields=["state", "failure_code", "failure_reason", "ended_at"])
    if was_running:
        meters.settle(attempt, budgets.UNKNOWN_USAGE, reason=code or str(state))


def drop_open_work(phase: Phase, reason: str) -> None:
    """Call off everything that is not decided for the phase: leases, attempts, gates."""
    for lease in phase.leases.live():
        release(lease, reason)
    for attempt in phase.attempts.open().exclude(state=AttemptState.MERGING):
        close_attempt(attempt, AttemptState.DROPPED, code=reason)
    ports.gates().cancel(phase.pk)


def fail_phase(phase: Phase, cause: Cause, code: str, reason: str, *, who: str = SYSTEM) -> None:
    """End a phase as FAILED for a cause that the run may end with."""
    drop_open_work(phase, code)
    move(
        phase,
        "failed",
        who=who,
        why=reason,
        data={"cause": str(cause), "code": code},
        failure_cause=str(cause),
        failure_code=code,
        failure_reason=reason[:4000],
        claim_deadline_at=None,
    )


def skip_phase(phase: Phase, reason: str, *, code: str = "dependency-failed", who: str = SYSTEM) -> None:
    """End a phase that will never be tried."""
    move(
        phase,
        "skipped",
        who=who,
        why=reason,
        failure_code=code,
        failure_reason=reason[:4000],
        claim_deadline_at=None,
    )


def close_tier(tier: Tier, phases: list[Phase]) -> None:
    """End a tier whose phases have all ended, and say whether it is clean."""
    states = {phase.state for phase in phases}
    if PhaseState.FAILED in states:
        event = "failed"
    elif states == {PhaseState.SKIPPED}:
        event = "skipped"
    else:
        event = "completed"
    move(tier, event, cleanliness=cleanliness(tier, failed=event != "completed"))


def cleanliness(tier: Tier, *, failed: bool = False) -> str:
    """Return `clean` or `not_clean`: failed, or more issues than the strategy tolerates."""
    return "not_clean" if failed or caps.tier_issue_breach(tier) else "clean"


def end_run(run: Run, cause: Cause, code: str, reason: str, *, who: str = SYSTEM) -> None:
    """End a run in the failed state of its cause, with everything that is still open called off.

    A phase whose merge is already recorded as an intent is left alone: git may have moved, and the
    intent's recovery will complete it.
    """
    for phase in run.phases.exclude(state__in=["COMPLETE", "FAILED", "SKIPPED"]):
        if phase.attempts.filter(state=AttemptState.MERGING).exists():
            note(phase, "merge_left_to_finish", why=reason)
            continue
        drop_open_work(phase, "run-ended")
        move(
            phase,
            "cancelled",
            why=reason,
            who=who,
            failure_cause=str(Cause.CANCELLED),
            failure_code="run-ended",
            failure_reason=reason[:4000],
            claim_deadline_at=None,
        )
    for tier in run.tiers.all():
        if tier.state == TierState.PENDING:
            move(tier, "skipped", why=reason)
        elif tier.state == TierState.IN_PROGRESS:
            move(tier, "failed", why=reason, cleanliness="not_clean")
    move(
        run,
        CAUSE_EVENTS[cause],
        who=who,
        why=reason,
        data={"code": code},
        failure_code=code,
        failure_reason=reason[:4000],
    )
    _after_end(run)


def finish_run(run: Run) -> None:
    """End a run whose tiers have all ended: success, or the failed state of the first cause."""
    failed = run.phases.filter(state=PhaseState.FAILED).order_by("completed_at", "phase_index").first()
    if failed is not None:
        cause = Cause(failed.failure_cause)
        end_run(run, cause, failed.failure_code, f"Phase {failed.phase_id}: {failed.failure_reason}")
        return
    if run.state not in (RunState.PHASE_QUEUEING, RunState.SNAPSHOT_CREATED):
        move(run, "queued")
    move(run, "succeeded")
    _after_end(run)


def _after_end(run: Run) -> None:
    ports.ledger().end_run(run.run_id)
    outbox.settle("run.step", run.run_id)
    following = Run.objects.filter(previous=run).first()
    if following is not None:
        outbox.enqueue("run.step", following.run_id, run_id=following.run_id)
