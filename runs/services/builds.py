"""Builders' results. A builder submits; only the supervisor and the gate move state (SPEC section 1)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings

from autopack_site.kernel import clock
from runs import agents, budgets, meters, outbox, ports
from runs.endings import release
from runs.errors import LeaseHeld, NoBuild, PhaseNotReady, StaleLease
from runs.figures import Figures
from runs.judgement import fail_audit, fail_build, lose_to_environment, stop_spent
from runs.lifecycle import LIVE_RUN_STATES, AttemptState, Cause, PhaseState
from runs.models import Attempt, Lease, Phase, Run
from runs.ports import IssueReport
from runs.services.claims import grant, open_build
from runs.services.late import DELIVERY, book_late, book_refused, delivery, rest_of
from runs.services.lookup import live_lease, phase_of, reload, run_id_of_lease
from runs.supervisor import locked_run
from runs.transitions import note

_UNKNOWN = Figures()


@dataclass(frozen=True)
class BuildResult:
    """What a builder hands in. `status`: success, needs_review, anything else is a failure."""

    status: str
    patch: bytes
    usage: budgets.Usage = budgets.UNKNOWN_USAGE
    notes: str = ""
    issues: tuple[IssueReport, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> str:
        """Return what the result is known by when it comes again: its patch, or without one all that it says."""
        if self.patch.strip():
            return patch_hash(self.patch)
        said = [self.status, self.notes, self.usage.tokens, self.usage.detail, self.report]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def patch_hash(patch: bytes) -> str:
    """Return the identity of a patch: SHA-256 of its bytes, in hex."""
    return hashlib.sha256(patch).hexdigest()


def submit_build(lease_id: str, *, fence: int, result: BuildResult, may_repeat: bool = True) -> Attempt:
    """Take a builder's result under its lease; the candidate is built next, by the caller or a worker.

    What was booked of the same work when it came too late, under a lease before, is not booked again; with
    `may_repeat` False (Autopack ran the agent anew and saw what it spent) all of it is.

    Raises LeaseNotFound or StaleLease. Even then the usage and the issues reported are booked: nothing seen
    is refused because it came late.
    """
    try:
        with locked_run(run_id_of_lease(lease_id)) as run:
            lease = live_lease(lease_id, fence)
            if lease.attempt.kind != Attempt.Kind.BUILD:
                raise NoBuild("This lease is for an audit, not for a build")
            return _take(run, lease, _rest(lease.phase, lease.owner, result) if may_repeat else result)
    except StaleLease:
        book_late(lease_id, result.usage, result.issues, work=result.work)
        raise


def submit_build_unleased(run_id: str, phase_id: str, *, agent: str, result: BuildResult) -> Attempt:
    """Claim a phase that nobody holds and submit its result in the same transaction (existing clients).

    One that the agent holds itself is submitted under that lease. Raises RunNotFound, PhaseNotFound, LeaseHeld
    (another's), StaleLease, NoBuild, PhaseNotReady, CategoryNotTaken. What was seen and used is booked first where it
    came too late; where it came too early nothing is: the same result may still be taken.
    """
    try:
        with locked_run(run_id) as run:
            phase = phase_of(run, phase_id)
            lease = phase.leases.live().first()
            if lease is not None and lease.owner != agent:
                raise LeaseHeld(f"{lease.owner} holds phase {phase_id}")
            if lease is not None:
                held = live_lease(lease.pk, lease.fence)
                if held.attempt.kind != Attempt.Kind.BUILD:
                    raise NoBuild("This lease is for an audit, not for a build")
                return _take(run, held, _rest(phase, agent, result))
            if run.state not in LIVE_RUN_STATES or phase.state != PhaseState.QUEUED or phase.ready_at is None:
                is_early = phase.state == PhaseState.QUEUED and not run.is_terminal
                raise PhaseNotReady(
                    f"Phase {phase_id} takes no result now: the run is {run.state}, the phase {phase.state}",
                    state=phase.state,
                    is_early=is_early,
                )
            agents.must_take(run, phase, agent, "build")
            attempt = open_build(run, phase, agent)
            claim = grant(run, phase, attempt, agent=agent, ttl_s=settings.LEASE_TTL_S)
            outbox.settle("agent.work", f"{phase.pk}:build")
            return _take(run, live_lease(claim.lease_id, claim.fence), _rest(phase, agent, result))
    except (LeaseHeld, NoBuild, PhaseNotReady, StaleLease) as refusal:
        if not getattr(refusal, "is_early", False):
            book_refused(
                run_id,
                phase_id,
                agent=agent,
                kind="build",
                work=result.work,
                usage=result.usage,
                issues=result.issues,
            )
        raise


def fail_attempt(
    lease_id: str,
    *,
    fence: int,
    code: str,
    reason: str,
    cause: Cause = Cause.REVIEW,
    figures: Figures = _UNKNOWN,
) -> None:
    """Record that the holder of a lease failed: killed at its time limit, exited badly, changed nothing.

    `cause` ENVIRONMENT (a missing command, a broken checkout) costs no attempt; the third such failure of a
    phase ends it. Where a cap was spent, that cap is the failure. `figures` are what it had used. Raises StaleLease.
    """
    with locked_run(run_id_of_lease(lease_id)) as run:
        lease = live_lease(lease_id, fence)
        attempt, phase = lease.attempt, lease.phase
        release(lease, "failed")
        meters.keep(attempt, figures)
        if spent := meters.spent_cap(attempt):
            stop_spent(run, phase, attempt, spent, f"{code}: {reason}")
            return
        if cause == Cause.ENVIRONMENT:
            lose_to_environment(run, phase, attempt, code=code, reason=reason)
            return
        if attempt.kind == Attempt.Kind.AUDIT:
            fail_audit(run, phase, attempt, code, reason)
            return
        attempt.fingerprint = hashlib.sha256(f"{code}:{reason}".encode()).hexdigest()
        attempt.save(update_fields=["fingerprint"])
        fail_build(run, phase, attempt, cause, AttemptState.FAILED, code, reason)


def _rest(phase: Phase, agent: str, result: BuildResult) -> BuildResult:
    usage, issues = rest_of(phase, agent, result.work, result.usage, result.issues)
    return replace(result, usage=usage, issues=issues)


def _take(run: Run, lease: Lease, result: BuildResult) -> Attempt:
    attempt, phase = lease.attempt, lease.phase
    release(lease, "submitted")
    ports.ledger().record(phase.pk, result.issues, reporter=lease.owner, base=attempt.base_commit)
    spent = meters.spent_cap(attempt)
    meters.settle(attempt, result.usage, reason="result submitted")
    attempt.notes = result.notes[:20_000]
    attempt.submitted_at = clock.now()
    attempt.patch, attempt.patch_hash = result.patch, patch_hash(result.patch)
    attempt.report = {
        **result.report,
        "needs_review": result.status == "needs_review",
        DELIVERY: delivery(result.work, result.issues),
    }
    if result.status in ("success", "needs_review") and result.patch.strip():
        attempt.state = AttemptState.SUBMITTED
        attempt.save()
        note(phase, "submitted", who=lease.owner, data={"attempt": attempt.pk, "patch": attempt.patch_hash})
        outbox.enqueue("candidate.build", attempt.pk, attempt_id=attempt.pk)
        return attempt
    reload(phase, run)  # what follows is judged by the counters, which moved
    attempt.state = AttemptState.SUBMITTED  # settled already: closing it must not settle again
    attempt.save()
    cause = Cause.REVIEW
    if spent:
        cause, code = Cause.BUDGET, spent
        reason = f"{spent} was spent before the work was done; the builder reported {result.status!r}"
    elif result.patch.strip() or result.status not in ("success", "needs_review"):
        code, reason = "builder-failed", f"The builder reported {result.status!r}"
    else:
        code, reason = "empty-patch", "The builder changed nothing"
    attempt.fingerprint = hashlib.sha256(f"{code}:{result.status}".encode()).hexdigest()
    attempt.save(update_fields=["fingerprint"])
    fail_build(run, phase, attempt, cause, AttemptState.FAILED, code, reason)
    return attempt
