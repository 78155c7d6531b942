"""Leases: claim, heartbeat, release. One live lease a phase, fences that only grow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from autopack_site.kernel import clock
from runs import agents, budgets, caps, meters, outbox
from runs.authorship import barred_from, must_be_another
from runs.brief import brief_for
from runs.endings import fail_phase, release
from runs.errors import LeaseHeld, PhaseNotReady, RunEnded, StaleLease
from runs.figures import Figures
from runs.judgement import give_back, next_number
from runs.lifecycle import LIVE_RUN_STATES, AttemptState, Cause, PhaseState
from runs.models import Attempt, Lease, Meter, Phase, Run
from runs.services.late import book_late
from runs.services.lookup import live_lease, phase_of, run_id_of_lease
from runs.supervisor import locked_run
from runs.transitions import move, note


@dataclass(frozen=True)
class Claim:
    """A lease and what its holder needs to start. `fence` goes with every later write."""

    lease_id: str
    fence: int
    run_id: str
    phase_id: str
    kind: str
    attempt_id: str
    base_commit: str
    expires_at: datetime
    ttl_s: float
    brief: dict[str, Any]
    budget: meters.Budget


@dataclass(frozen=True)
class Heartbeat:
    """A lease's new end, and what its holder may still spend."""

    expires_at: datetime
    budget: meters.Budget


def claim_phase(
    run_id: str,
    *,
    agent: str,
    kind: str = "build",
    phase_id: str | None = None,
    phase_pk: int | None = None,
    categories: list[str] | None = None,
    ttl_s: float | None = None,
) -> Claim | None:
    """Claim the next phase to build (`build`) or to audit (`audit`); None when nothing is there to claim.

    Naming a phase claims that one. An agent that the project declares is given the categories that it is declared
    for only, and no audit that is to be another's than the author's. Raises RunNotFound, PhaseNotFound, and for a
    named phase LeaseHeld, PhaseNotReady, CategoryNotTaken or OwnPatch.
    """
    with locked_run(run_id) as run:
        if phase_pk is not None:
            outbox.settle("agent.work", f"{phase_pk}:{kind}")
        if run.state not in LIVE_RUN_STATES:
            if phase_id is not None and run.is_terminal:
                raise RunEnded(f"Run {run_id} has ended: {run.state}")
            return None
        found = _find(run, agent, kind, phase_id, phase_pk, categories)
        if found is None:
            return None
        phase, attempt = found
        paid_by: caps.Envelope = "audit" if kind == "audit" else "build"
        breach = None
        if not caps.must_wait(run, phase.tier, phase, paid_by):
            if attempt is None:
                attempt = open_build(run, phase, agent)
            return grant(run, phase, attempt, agent=agent, ttl_s=ttl_s or settings.LEASE_TTL_S)
        if kind == "audit":  # of builds the supervisor sees to it
            breach = caps.spending_breach(run, phase.tier, phase, paid_by)
        if breach is not None:  # what it needs was spent since it was asked for: nobody gives that back
            fail_phase(phase, Cause.BUDGET, breach.limit, breach.detail)
        elif phase_id is not None:
            raise PhaseNotReady(
                "Other attempts hold the tokens or the money that this one needs", waits_for="tokens"
            )
        elif phase_pk is not None:  # a command agent: nobody else would wake it again
            wait_s = settings.OUTBOX_RESEND_S
            outbox.enqueue("agent.work", f"{phase_pk}:{kind}", delay_s=wait_s, phase_pk=phase_pk, kind=kind)
    if breach is not None and phase_id is not None:
        raise PhaseNotReady(f"Phase {phase_id} has failed: {breach.limit}", state=PhaseState.FAILED)
    return None


def _find(
    run: Run,
    agent: str,
    kind: str,
    phase_id: str | None,
    phase_pk: int | None,
    categories: list[str] | None,
) -> tuple[Phase, Attempt | None] | None:
    """Return the phase to claim and, for an audit, the wanted audit."""
    phases = run.phases.select_related("tier")
    if phase_pk is not None:
        phases = phases.filter(pk=phase_pk)
    if phase_id is not None:
        named = phase_of(run, phase_id)
        agents.must_take(run, named, agent, kind)
        found = _named(named, kind)
        if found[1] is not None:
            must_be_another(found[1], agent)
        return found
    for wanted in (categories, agents.taken_by(run, agent, kind)):
        if wanted:
            phases = phases.filter(task_category__in=wanted)
    if kind == "build":
        phase = phases.claimable().first()
        return None if phase is None else (phase, None)
    audits = (
        Attempt.objects.filter(phase__in=phases, kind=Attempt.Kind.AUDIT, state=AttemptState.WANTED)
        .exclude(phase__leases__in=Lease.objects.live().filter(run=run))
        .select_related("phase__tier", "target__phase")
        .order_by("created_at")
    )
    return next(((audit.phase, audit) for audit in audits if not agent or barred_from(audit) != agent), None)


def _named(phase: Phase, kind: str) -> tuple[Phase, Attempt | None]:
    lease = phase.leases.live().first()
    if lease is not None:
        raise LeaseHeld(
            f"{lease.owner} holds phase {phase.phase_id}", expires_at=clock.stamp(lease.expires_at)
        )
    if kind == "audit":
        wanted = phase.attempts.filter(kind=Attempt.Kind.AUDIT, state=AttemptState.WANTED).first()
        if wanted is None:
            raise PhaseNotReady(f"Phase {phase.phase_id} waits for no audit", state=phase.state)
        return phase, wanted
    if phase.state != PhaseState.QUEUED or phase.ready_at is None:
        why = "its turn has not come" if phase.state == PhaseState.QUEUED else f"it is {phase.state}"
        raise PhaseNotReady(f"Phase {phase.phase_id} can't be claimed: {why}", state=phase.state)
    return phase, None


def open_build(run: Run, phase: Phase, agent: str) -> Attempt:
    """Open the phase's next build for agent; the caller holds the run's row lock and grants the lease."""
    move(phase, "claimed", who=agent, started_at=phase.started_at or clock.now())
    return Attempt.objects.create(
        run=run,
        phase=phase,
        kind=Attempt.Kind.BUILD,
        number=next_number(phase, Attempt.Kind.BUILD),
        state=AttemptState.WANTED,
        base_commit=run.head_commit,
        brief_notes=phase.notes,
        created_at=clock.now(),
    )


def grant(run: Run, phase: Phase, attempt: Attempt, *, agent: str, ttl_s: float) -> Claim:
    """Give agent the lease on an attempt; the caller holds the run's row lock and has checked the rest."""
    now = clock.database_now()
    fence = phase.fence + 1
    Phase.objects.filter(pk=phase.pk).update(fence=F("fence") + 1, claim_deadline_at=None)
    phase.fence, phase.claim_deadline_at = fence, None
    attempt.state, attempt.agent, attempt.fence = AttemptState.RUNNING, agent, fence
    attempt.save(update_fields=["state", "agent", "fence"])
    lease = Lease.objects.create(
        run=run,
        phase=phase,
        attempt=attempt,
        owner=agent,
        fence=fence,
        ttl_s=ttl_s,
        acquired_at=now,
        expires_at=now + timedelta(seconds=ttl_s),
    )
    budgets.reserve(attempt, budgets.reservation(run, phase.tier, phase, caps.envelope(attempt)))
    if attempt.kind == Attempt.Kind.AUDIT:
        note(phase, "audit_claimed", who=agent, data={"attempt": attempt.pk, "fence": fence})
    kind = "audit" if attempt.kind == Attempt.Kind.AUDIT else "build"
    return Claim(
        lease_id=lease.pk,
        fence=fence,
        run_id=run.run_id,
        phase_id=phase.phase_id,
        kind=kind,
        attempt_id=attempt.pk,
        base_commit=attempt.base_commit,
        expires_at=lease.expires_at,
        ttl_s=ttl_s,
        brief=brief_for(run, phase, attempt),
        budget=meters.budget_of(attempt, None, phase.limits),
    )


def heartbeat(lease_id: str, *, fence: int, figures: Figures | None = None) -> Heartbeat:
    """Extend the lease by its ttl from now (the database's clock); say its new end and what is left to spend.

    `figures` are cumulative for the attempt; see `runs.meters`. Once a cap is spent, no lease is extended past the
    grace. Raises LeaseNotFound and StaleLease: then the holder must stop; figures that came with it are booked as
    late. One conditional update, and one row more where figures come; safe to repeat.
    """
    changes: list[meters.Change] = []
    with transaction.atomic():
        now = clock.database_now()
        lease = _beating.filter(pk=lease_id).first()
        if lease is None:
            live_lease(lease_id, fence)
        assert lease is not None
        meter: Meter | None = getattr(lease.attempt, "meter", None)
        ends = _end(now + timedelta(seconds=lease.ttl_s), meter)
        held = Lease.objects.filter(
            pk=lease_id, fence=fence, phase__fence=fence, released_at=None, expires_at__gt=now
        )
        rows = held.update(expires_at=ends)
        if rows == 1 and figures is not None and not figures.is_empty:
            # the lease's row lock orders the reports; what another one wrote meanwhile is read again under it
            meter, changes = meters.report(
                lease.attempt, lease.phase.limits, meters.of(lease.attempt), figures, now=now
            )
            if _end(ends, meter) != ends:
                ends = _end(ends, meter)
                Lease.objects.filter(pk=lease_id).update(expires_at=ends)
    if rows != 1:
        if figures is not None and not figures.is_empty:
            book_late(lease_id, meters.usage_from(figures))
        raise StaleLease("The lease ran out, was released, or a newer claim exists", reason="stale")
    if changes:  # in a transaction of its own: the run's lock comes before its leases'
        with locked_run(lease.run_id) as run:
            phase = Phase.objects.get(pk=lease.phase_id)
            phase.run = run
            for change in changes:
                note(phase, change.event, who=lease.owner, why=change.why, data=change.data)
    return Heartbeat(ends, meters.budget_of(lease.attempt, meter, lease.phase.limits))


_beating = Lease.objects.select_related("attempt__meter", "phase").only(
    "run_id", "owner", "ttl_s", "phase__limits",
    *(f"attempt__{name}" for name in ("token_cap", "token_limit", "cost_cap_micro_usd", "cost_limit", "created_at")),
    *(f"attempt__meter__{name}" for name in ("tokens", "cost_micro_usd", "turns", "state", "limit", "stop_by")),
)  # fmt: skip


def _end(at: datetime, meter: Meter | None) -> datetime:
    """Return the end of a lease that would last until `at`: not past the grace of a spent budget."""
    return at if meter is None or meter.stop_by is None else min(at, meter.stop_by)


def release_lease(lease_id: str, *, fence: int, why: str = "released by its holder") -> None:
    """Give the phase back without a result. Raises LeaseNotFound and StaleLease."""
    with locked_run(run_id_of_lease(lease_id)) as run:
        lease = live_lease(lease_id, fence)
        release(lease, "released")
        give_back(run, lease.phase, lease.attempt, why)
