"""The supervisor: one `step(run_id)` that any number of workers may call at once.

A step reads the truth under the run's row lock, chooses, acts and returns. Services that record a fact
call `advance` in the same transaction, so that the next move never waits for a message.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError
from runs import agents, caps, gate_queue, outbox, ports, rows
from runs.endings import cleanliness, close_tier, end_run, fail_phase, finish_run, release, skip_phase
from runs.errors import RunNotFound
from runs.judgement import give_back
from runs.lifecycle import (
    CAUSE_STATES,
    LIVE_RUN_STATES,
    SHOW_EVENTS,
    TERMINAL_PHASE_STATES,
    AttemptState,
    Cause,
    PhaseState,
    RunState,
    TierState,
    shown_run_state,
)
from runs.models import Phase, Run, Tier
from runs.transitions import move, note

log = structlog.get_logger(__name__)
PREPARE_TRIES = 3
_LOOK = """
SELECT clock_timestamp(),
    EXISTS (SELECT 1 FROM runs_attempt WHERE run_id = %s AND state = %s),
    EXISTS (SELECT 1 FROM runs_lease WHERE run_id = %s AND released_at IS NULL AND expires_at <= clock_timestamp())
"""


class _Held(threading.local):
    """The runs whose rows this thread's transaction holds through `locked_run`."""

    def __init__(self) -> None:
        self.run_ids: set[str] = set()


_held = _Held()


@contextmanager
def locked_run(run_id: str) -> Iterator[Run]:
    """Hold the run's row for one transaction, and advance the run before it commits.

    Raises RunNotFound. The lock orders all moves of one run; runs never wait for each other. Inside another
    block of the same run only what the block itself does happens: the outermost one advances, once.
    """
    if run_id in _held.run_ids:
        with transaction.atomic(savepoint=False):  # what fails here fails the whole
            yield Run.objects.get(pk=run_id)
        return
    with transaction.atomic():
        run = rows.run_to_lock.first(run_id)
        if run is None:
            raise RunNotFound(f"Run {run_id} not found")
        _held.run_ids.add(run_id)
        try:
            yield run
            rows.reread(run)
            advance(run)  # still as the holder: a gate that is waived on the spot reports within it
        finally:
            _held.run_ids.discard(run_id)


def step(run_id: str) -> None:
    """Bring a run as far as it can go now. Safe to call at any time, by any number of workers."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return
    if run.state == RunState.RUN_CREATED:
        if outbox.is_put_off("run.step", run_id):
            return
        _prepare(run)
    with locked_run(run_id) as fresh:
        # A run that waits (for the run before it, for its repository) keeps its row: that is what wakes it.
        if fresh.state != RunState.RUN_CREATED:
            outbox.settle("run.step", run_id)


def _prepare(run: Run) -> None:
    """Fetch the repository and record the base, outside any transaction but the last."""
    if run.previous is not None and not _previous_succeeded(run):
        return
    try:
        base = ports.workspace().prepare(run.run_id)
    except AutopackError as error:
        _prepare_failed(run, error)
        return
    with locked_run(run.run_id) as fresh:
        if fresh.state != RunState.RUN_CREATED:
            return  # another worker was first
        if fresh.previous_id is not None:
            ports.ledger().begin_run(fresh.run_id, fresh.project_id)
        now = clock.database_now()
        move(
            fresh,
            "prepared",
            data={"base": base.commit, "branch": base.branch},
            base_commit=base.commit,
            head_commit=base.commit,
            started_at=now,
            deadline_at=now + timedelta(minutes=fresh.max_duration_minutes),
        )


def _previous_succeeded(run: Run) -> bool:
    """Tell whether the run before this one (of a split plan) is done; end this one if it failed."""
    previous = run.previous
    if previous is None or previous.state == RunState.DONE_SUCCESS:
        return True
    if previous.is_terminal:
        with locked_run(run.run_id) as fresh:
            if not fresh.is_terminal:
                cause = next(cause for cause, state in CAUSE_STATES.items() if state == previous.state)
                end_run(fresh, cause, "previous-run-failed", f"Run {previous.run_id} ended {previous.state}")
    return False


def _prepare_failed(seen: Run, error: AutopackError) -> None:
    """Count one failed try, however many workers made it at once, and put the next one off."""
    with locked_run(seen.run_id) as run:
        if run.state != RunState.RUN_CREATED or run.prepare_tries != seen.prepare_tries:
            return
        tries = run.prepare_tries + 1
        Run.objects.filter(pk=run.pk).update(prepare_tries=tries)
        if error.retryable and tries < PREPARE_TRIES:
            note(run, "prepare_failed", why=error.detail, data={"code": error.code, "try": tries})
            outbox.postpone("run.step", run.run_id, delay_s=settings.GATE_BACKOFF_S)
        else:
            end_run(run, Cause.ENVIRONMENT, error.code, error.detail)


def advance(run: Run) -> None:
    """Make every move that the present rows allow. The caller holds the run's row lock."""
    if run.state not in LIVE_RUN_STATES:
        return
    now, is_waited_for, has_expired = _look(run)
    if run.deadline_at and run.deadline_at <= now:
        minutes = run.max_duration_minutes
        end_run(run, Cause.BUDGET, "run_max_duration_minutes", f"The run is over its {minutes} minutes")
        return
    if breach := caps.issue_breach(run):
        end_run(run, Cause.BUDGET, breach.limit, breach.detail)
        return
    if has_expired:
        _lose_expired(run, now)
    if is_waited_for or has_expired:
        gate_queue.serve_next(run)
    phases = _phases_of(run)  # read once: what follows moves these very rows
    _expire_claims(phases, now)
    _walk_tiers(run, phases)
    if run.state in LIVE_RUN_STATES:
        _show(run, phases)


def _look(run: Run) -> tuple[datetime, bool, bool]:
    """Return the database's time, whether a candidate waits for its gate, and whether a live lease ran out.

    One statement, as it is part of every step; what it finds is read in full only then.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [run.pk, str(AttemptState.CANDIDATE), run.pk])
        now, is_waited_for, has_expired = cursor.fetchone()
    return now, is_waited_for, has_expired


def _phases_of(run: Run) -> list[Phase]:
    phases = rows.phases_of_run(run.pk)
    for phase in phases:
        phase.run = run
    return phases


def _lose_expired(run: Run, now: datetime) -> None:
    for lease in run.leases.expired(now).select_related("attempt", "phase__tier"):
        release(lease, "expired")
        if lease.attempt.state == AttemptState.RUNNING:
            give_back(run, lease.phase, lease.attempt, f"The lease of {lease.owner} ran out")


def _expire_claims(phases: list[Phase], now: datetime) -> None:
    for phase in phases:
        if not phase.is_unclaimed_since(now):
            continue
        work = "built" if phase.state == PhaseState.QUEUED else "audited"
        fail_phase(
            phase,
            Cause.ENVIRONMENT,
            "claim-deadline",
            f"Nobody {work} the phase within {settings.CLAIM_DEADLINE_S:g} s",
        )


def _walk_tiers(run: Run, phases: list[Phase]) -> None:
    """Start, schedule and close tiers in order, until something has to be waited for."""
    for tier in rows.tiers_of_run(run.pk):
        if tier.is_terminal:
            continue
        tier.run = run
        mine = [phase for phase in phases if phase.tier_id == tier.pk]
        if tier.state == TierState.PENDING:
            ports.ledger().begin_tier(run.run_id, tier.tier_id)
            move(tier, "started", started_at=clock.now())
        if _must_review(run, tier):
            end_run(
                run,
                Cause.REVIEW,
                "major-issue",
                f"Safety-critical tier {tier.tier_id} has {tier.major_issues_count} major issues, "
                f"{tier.max_major_issues} are tolerated: tier_max_major_issues_tolerated",
            )
            return
        _schedule(run, tier, mine, phases)
        if run.is_terminal:
            return
        _set_cleanliness(tier)
        if not all(phase.is_terminal for phase in mine):
            return
        close_tier(tier, mine)
        if _stops_the_run(run, tier, mine):
            return
    finish_run(run)


def _must_review(run: Run, tier: Tier) -> bool:
    return run.safety_profile == "safety_critical" and tier.major_issues_count > tier.max_major_issues


def _set_cleanliness(tier: Tier) -> None:
    value = cleanliness(tier)
    if value != tier.cleanliness:
        Tier.objects.filter(pk=tier.pk).update(cleanliness=value)
        note(tier, "cleanliness_changed", data={"cleanliness": value})
        tier.cleanliness = value


def _stops_the_run(run: Run, tier: Tier, phases: list[Phase]) -> bool:
    """End the run early: a failed phase that ends its run, a dirty tier in single_tier."""
    failed = [phase for phase in phases if phase.state == PhaseState.FAILED]
    if any(_ends_its_run(run, phase) for phase in failed):
        finish_run(run)
        return True
    if run.run_scope == "single_tier" and tier.cleanliness == "not_clean":
        if failed:
            finish_run(run)
        else:
            _end_for_dirt(run, tier, phases)
        return True
    return False


def _end_for_dirt(run: Run, tier: Tier, phases: list[Phase]) -> None:
    """End a run that goes one tier at a time: its tier has too many issues, or was skipped whole."""
    scope = f"Tier {tier.tier_id} is not clean and the run goes one tier at a time"
    if breach := caps.tier_issue_breach(tier):
        end_run(run, Cause.BUDGET, breach.limit, f"{scope}: {breach.detail}")
        return
    first = phases[0]
    end_run(run, Cause.REVIEW, first.failure_code, f"{scope}: {first.phase_id}: {first.failure_reason}")


def _ends_its_run(run: Run, phase: Phase) -> bool:
    """Tell whether the run ends when the phase fails: all of safety_critical, and what a rule says it of."""
    return run.safety_profile == "safety_critical" or phase.limits.get("on_phase_failure") == "stop"


def _schedule(run: Run, tier: Tier, phases: list[Phase], every: list[Phase]) -> None:
    """Make phases ready whose turn has come; skip those whose dependency can't complete any more."""
    if any(p.state == PhaseState.FAILED and _ends_its_run(run, p) for p in phases):
        finish_run(run)
        return
    by_id = {phase.phase_id: phase for phase in every}
    for phase in phases:
        if phase.state != PhaseState.QUEUED:
            continue
        if phase.ready_at is not None:  # what it was promised may have been spent since: by others, or late
            if _is_broken(run, tier, phase) and run.is_terminal:
                return
            continue
        earlier = phases[: phases.index(phase)]
        if lacking := _broken_dependency(phase, by_id):
            skip_phase(phase, f"It depends on {lacking}, which did not complete")
        elif _is_turn(phase, earlier, by_id):
            _make_ready(run, tier, phase)
            if run.is_terminal:
                return


def _broken_dependency(phase: Phase, by_id: dict[str, Phase]) -> str | None:
    names: list[str] = phase.depends_on or []
    for name in names:
        if by_id[name].state in (PhaseState.FAILED, PhaseState.SKIPPED):
            return name
    return None


def _is_turn(phase: Phase, earlier: list[Phase], by_id: dict[str, Phase]) -> bool:
    if phase.depends_on is None:
        return all(other.state in TERMINAL_PHASE_STATES for other in earlier)
    return all(by_id[name].state == PhaseState.COMPLETE for name in phase.depends_on)


def _is_broken(run: Run, tier: Tier, phase: Phase) -> bool:
    """End the phase, or its run, where a cap lets no further build start; tell whether that is so."""
    breach = caps.start_breach(run, tier, phase, "build")
    if breach is None:
        return False
    if breach.level == "run":
        end_run(run, Cause.BUDGET, breach.limit, breach.detail)
    else:
        fail_phase(phase, Cause.BUDGET, breach.limit, breach.detail)
    return True


def _make_ready(run: Run, tier: Tier, phase: Phase) -> None:
    if _is_broken(run, tier, phase):
        return
    if caps.must_wait(run, tier, phase, "build"):
        return
    now = clock.database_now()
    phase.ready_at = now
    phase.claim_deadline_at = now + timedelta(seconds=settings.CLAIM_DEADLINE_S)
    phase.save(update_fields=["ready_at", "claim_deadline_at"])
    if agents.serving(run, phase, "build"):
        outbox.enqueue("agent.work", f"{phase.pk}:build", phase_pk=phase.pk, kind="build")


def _show(run: Run, phases: list[Phase]) -> None:
    """Show the most advanced of the live phases."""
    shown = shown_run_state([phase.state for phase in phases])
    if shown != run.state:
        move(run, SHOW_EVENTS[shown])
