"""Gates: claimed, tried in fresh checkouts, decided; with an owner and a deadline throughout."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Max

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError, Conflict
from integration import crash
from integration.gate_issues import reports_of
from integration.gate_rules import INFRA, decide, fingerprint, reason_for
from integration.gate_try import run_try
from integration.logs import LogWriter
from integration.models import GateRun
from integration.renewal import Renewal
from integration.repository import log_path, mirror_of
from runs import outbox, ports, services
from runs.agents import config_of
from runs.diff_size import held_to
from runs.models import Attempt
from runs.supervisor import locked_run

log = structlog.get_logger(__name__)
MAX_LOG_BYTES = 64 * 1024 * 1024


class GateLeaseLost(Conflict):
    """Another worker owns the gate run now, or it was called off."""

    code = "gate-lease-lost"
    title = "The gate run is no longer ours"


def create(attempt: Attempt, *, delay_s: float = 0.0) -> GateRun:
    """Record that the attempt's candidate must be gated; in the caller's transaction.

    A profile without steps is waived here and now: the waiver is recorded and acted on like any verdict, but
    there is nothing that a worker could do for it.
    """
    now = clock.now()
    gate = _new(attempt, now)
    if not config_of(attempt.run).gate_steps(gate.profile):
        _waive(gate, now)
        return gate
    gate.save(force_insert=True)
    outbox.enqueue("gate.run", gate.pk, delay_s=delay_s, gate_run_id=gate.pk)
    return gate


def _new(attempt: Attempt, now: datetime) -> GateRun:
    last = GateRun.objects.filter(attempt=attempt).aggregate(last=Max("number"))["last"] or 0
    return GateRun(
        run_id=attempt.run_id,
        phase_id=attempt.phase_id,
        attempt=attempt,
        number=last + 1,
        profile=held_to(attempt)["ci_profile"],
        candidate_sha=attempt.candidate_sha,
        patch_hash=attempt.patch_hash,
        base_commit=attempt.base_commit,
        strategy_sha256=attempt.run.strategy.sha256,
        deadline_at=clock.database_now() + timedelta(seconds=settings.GATE_DEADLINE_S),
        created_at=now,
    )


def _waive(gate: GateRun, now: datetime) -> None:
    gate.state, gate.verdict, gate.reason = GateRun.State.DONE, GateRun.Verdict.WAIVED, waiver(gate.profile)
    gate.owner, gate.started_at, gate.ended_at = "autopack", now, now
    gate.save(force_insert=True)
    services.gate_started(gate.attempt_id)
    services.gate_finished(gate.attempt_id, verdict=gate.verdict, reason=gate.reason)


def waiver(profile: str) -> str:
    """Return why a gate without steps lets a candidate pass."""
    return f"Profile {profile} has no steps"


def execute(gate_run_id: str) -> None:
    """Run a gate to its verdict, if it is free. Safe to repeat: the fence lets one owner write."""
    gate = _claim(gate_run_id)
    if gate is None:
        return
    crash.line("gate-claimed")
    if not services.gate_started(gate.attempt_id):
        with suppress(GateLeaseLost):  # called off already
            _write(gate, state=GateRun.State.CANCELLED, ended_at=clock.now())
        return
    with Renewal(lambda: _renew(gate)) as renewal:
        try:
            verdict, reason = _tries(gate, renewal)
        except GateLeaseLost:
            log.info("gate.lease_lost", gate_run_id=gate.pk)
            return
        except (AutopackError, OSError) as error:
            log.warning("gate.infrastructure", gate_run_id=gate.pk, error=type(error).__name__)
            verdict, reason = INFRA, str(error)
    crash.line("gate-judged")
    finish(gate, verdict=verdict, reason=reason)
    crash.line("gate-recorded")


def _claim(gate_run_id: str) -> GateRun | None:
    now = clock.database_now()
    with transaction.atomic():
        gate: GateRun | None = (
            GateRun.objects.open()
            .select_for_update(skip_locked=True, of=("self",))
            .filter(pk=gate_run_id)
            .first()
        )
        if gate is None:
            if not GateRun.objects.open().filter(pk=gate_run_id).exists():
                outbox.settle("gate.run", gate_run_id)
            return None
        if gate.state == GateRun.State.RUNNING and gate.lease_expires_at and gate.lease_expires_at > now:
            return None
        gate.state, gate.fence = GateRun.State.RUNNING, gate.fence + 1
        gate.owner = f"{socket.gethostname()}:{os.getpid()}"
        gate.lease_expires_at = now + timedelta(seconds=settings.LEASE_TTL_S)
        if gate.started_at is None:  # the time in the queue is not the tests'
            gate.deadline_at = now + timedelta(seconds=settings.GATE_DEADLINE_S)
        gate.started_at = gate.started_at or clock.now()
        gate.log_path = str(log_path(gate.run_id, f"gate-{gate.pk}"))
        told = ["state", "fence", "owner", "lease_expires_at", "started_at", "log_path", "deadline_at"]
        gate.save(update_fields=told)
        outbox.settle("gate.run", gate.pk)
    return gate


def _write(gate: GateRun, **fields: Any) -> None:
    """Write under the fence, while the lease holds; no row changed means that the gate is not ours."""
    rows = GateRun.objects.filter(
        pk=gate.pk, fence=gate.fence, state=GateRun.State.RUNNING, lease_expires_at__gt=clock.database_now()
    ).update(**fields)
    if rows != 1:
        raise GateLeaseLost(f"Gate run {gate.pk} has another owner")


def _renew(gate: GateRun) -> None:
    _write(gate, lease_expires_at=clock.database_now() + timedelta(seconds=settings.LEASE_TTL_S))


def _tries(gate: GateRun, renewal: Renewal) -> tuple[str, str]:
    """Try until there is a verdict; earlier tries of a worker that vanished count."""
    attempt = Attempt.objects.select_related("phase", "run__project").get(pk=gate.attempt_id)
    config = config_of(attempt.run)
    steps = config.gate_steps(gate.profile)
    if not steps:
        return "waived", waiver(gate.profile)
    tries: list[dict[str, Any]] = list(gate.evidence.get("tries", []))
    maximum = int(attempt.phase.limits["ci_max_retries"])
    with LogWriter(log_path(gate.run_id, f"gate-{gate.pk}"), MAX_LOG_BYTES) as out:
        while (verdict := decide(tries, maximum)) is None:
            if tries and not renewal.wait(settings.GATE_BACKOFF_S):
                raise GateLeaseLost
            row = run_try(
                mirror_of(attempt.run.project),
                gate.candidate_sha,
                config,
                steps,
                profile=gate.profile,
                number=len(tries) + 1,
                ends=_ends(gate, attempt),
                write=out.write,
                should_stop=renewal.is_lost,
            )
            if row["verdict"] == "cancelled" or renewal.is_lost():
                raise GateLeaseLost
            tries.append(row)
            gate.evidence = {"tries": tries}
            # a rerun gets the time that the first try had: tests that hang would else never be called red
            gate.deadline_at = clock.database_now() + timedelta(seconds=settings.GATE_DEADLINE_S)
            _write(gate, evidence=gate.evidence, deadline_at=gate.deadline_at)
            crash.line("gate-tried")
    if verdict in ("green", "flaky"):
        return verdict, "" if verdict == "green" else "Red, then green twice on the same commit"
    return verdict, reason_for(tries[-1])


def _ends(gate: GateRun, attempt: Attempt) -> float:
    """Return when a try must be over (monotonic): at the gate's deadline, or at the run's if that is sooner.

    Deadlines are the database's; a host whose clock jumps neither cuts a try short nor lets it run on.
    """
    run_ends = attempt.run.deadline_at
    deadline = min(gate.deadline_at, run_ends) if run_ends else gate.deadline_at
    return time.monotonic() + (deadline - clock.database_now()).total_seconds()


def finish(gate: GateRun, *, verdict: str, reason: str) -> None:
    """Write the verdict under the fence and act on it, in one transaction; a lost gate writes nothing."""
    tries = gate.evidence.get("tries", [])
    mark = fingerprint(tries[-1]) if tries and verdict == "red" else ""
    with locked_run(gate.run_id):
        try:
            _write(
                gate,
                state=GateRun.State.DONE,
                verdict=verdict,
                reason=reason[:4000],
                fingerprint=mark,
                ended_at=clock.now(),
            )
        except GateLeaseLost:
            log.info("gate.verdict_dropped", gate_run_id=gate.pk)
            return
        reports = reports_of(gate.pk, gate.phase, tries, verdict) if verdict in ("red", "flaky") else []
        if reports:  # a gate that could not run says nothing about the code
            ports.ledger().record(gate.phase_id, reports, reporter="gate", base=gate.base_commit)
        services.gate_finished(gate.attempt_id, verdict=verdict, fingerprint=mark, reason=reason)


def sweep(limit: int = 200) -> int:
    """Take gates back from vanished workers and end those past their deadline; return how many."""
    now = clock.database_now()
    count = 0
    for gate in GateRun.objects.overdue(now).order_by("deadline_at")[:limit]:
        try:
            count += expire(gate, now)
        except AutopackError as error:  # a gate that can't end must not keep the others from it
            log.error("gate.not_expired", gate_run_id=gate.pk, code=error.code)
    abandoned = GateRun.objects.abandoned(now).filter(deadline_at__gt=now)
    for gate in abandoned.order_by("lease_expires_at")[:limit]:
        count += take_back(gate, now)
    return count


@transaction.atomic
def take_back(gate: GateRun, now: datetime) -> int:
    """Let another worker have a gate whose worker let the lease run out; return 1, or 0 when it is not so."""
    rows = (
        GateRun.objects.abandoned(now)
        .filter(pk=gate.pk, fence=gate.fence)
        .update(state=GateRun.State.WAITING, fence=F("fence") + 1, lease_expires_at=None)
    )
    if rows:
        outbox.enqueue("gate.run", gate.pk, gate_run_id=gate.pk)
    return rows


def expire(gate: GateRun, now: datetime) -> int:
    """End a gate past its deadline; return 1, or 0 when it is not.

    No verdict by the deadline is infra_failed, never "absent, so fine".
    """
    with locked_run(gate.run_id):
        rows = (
            GateRun.objects.overdue(now)
            .filter(pk=gate.pk)
            .update(
                state=GateRun.State.DONE,
                verdict=GateRun.Verdict.INFRA_FAILED,
                reason="No verdict by the deadline",
                fence=F("fence") + 1,
                ended_at=clock.now(),
            )
        )
        if rows:
            outbox.settle("gate.run", gate.pk)
            services.gate_finished(gate.attempt_id, verdict=INFRA, reason="No verdict by the gate's deadline")
    return rows
