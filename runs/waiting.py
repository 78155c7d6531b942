"""Long polls for work: a cheap look at short intervals, and a cap on how many may look at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.fields.json import KeyTransform

from autopack_site.kernel.errors import NotFound
from runs import agents, services
from runs.authorship import barred_from
from runs.errors import LeaseHeld, LostRace, PhaseNotReady, RunEnded
from runs.lifecycle import ACTIVE_RUN_STATES, LIVE_RUN_STATES, AttemptState, PhaseState
from runs.models import Attempt, Phase, Run
from runs.services import Claim

T = TypeVar("T")
INTERVAL_S = 0.25
RUNS_A_LOOK = 20
MAX_LOST = 500  # runs that a look may lose to other agents before it says that there is nothing


class WaitersFull(Exception):
    """As many agents wait in this process as may; the caller comes back later."""


class _Waiters:
    """Counts the waiters of this process, each of which holds one of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the block runs; raise WaitersFull."""
        with self._lock:
            if self.count >= settings.MAX_WAITERS:
                raise WaitersFull
            self.count += 1
        try:
            yield
        finally:
            with self._lock:
                self.count -= 1


waiters = _Waiters()


def claim_in_run(
    run_id: str,
    *,
    agent: str,
    kind: str,
    phase_id: str | None = None,
    categories: list[str] | None = None,
    ttl_s: float | None = None,
    wait_s: float = 0.0,
) -> Claim | None:
    """Claim in one run as `services.claim_phase` does, waiting up to wait_s seconds for something to claim.

    Raises what claim_phase raises, and WaitersFull. A run that ends while it is waited for is no error.
    """

    def attempt() -> Claim | None:
        return services.claim_phase(
            run_id, agent=agent, kind=kind, phase_id=phase_id, categories=categories, ttl_s=ttl_s
        )

    claim = attempt()
    if claim is not None or wait_s <= 0:
        return claim
    run = Run.objects.filter(pk=run_id)

    def look() -> Claim | None:
        barred = own_audits(run, agent) if kind == "audit" else []
        if with_work_of_others(run, kind, categories, agent, barred):
            return None
        return attempt() if with_work(run, kind, categories, barred).exists() else None

    return _wait(wait_s, look=look, is_over=lambda: not run.active().exists())


def claim_anywhere(
    project_id: str | None,
    *,
    agent: str,
    kind: str,
    categories: list[str] | None = None,
    ttl_s: float | None = None,
    wait_s: float = 0.0,
) -> Claim | None:
    """Claim in the oldest run of the project (of every project for None) that has something to claim.

    Raises WaitersFull.
    """
    runs = Run.objects.all() if project_id is None else Run.objects.filter(project__project_id=project_id)

    def claimed(run_id: str) -> Claim | None:
        try:
            return services.claim_phase(run_id, agent=agent, kind=kind, categories=categories, ttl_s=ttl_s)
        except (LeaseHeld, LostRace, NotFound, PhaseNotReady, RunEnded):
            return None  # another agent was first

    def of_free_runs(unfit: list[str], barred: list[str]) -> Claim | None:
        """Claim in a run that nobody is at: agents that come at once take a run each and don't queue for one."""
        lost = list(unfit)
        while len(lost) < len(unfit) + RUNS_A_LOOK:
            with transaction.atomic():
                found = with_work(runs, kind, categories, barred).exclude(pk__in=lost)
                free = found.select_for_update(skip_locked=True, of=("self",)).order_by(
                    "created_at", "run_id"
                )
                run_id = free.values_list("run_id", flat=True).first()
                claim = claimed(run_id) if run_id is not None else None
            if claim is not None or run_id is None:
                return claim
            lost.append(run_id)
        return None

    def look() -> Claim | None:
        barred = own_audits(runs, agent) if kind == "audit" else []
        unfit = with_work_of_others(runs, kind, categories, agent, barred)
        claim = of_free_runs(unfit, barred)
        lost = list(unfit)
        while claim is None and len(lost) < len(unfit) + MAX_LOST:
            # what is held by others now may have more to do: here their turn is waited for
            found = with_work(runs, kind, categories, barred).exclude(pk__in=lost)
            found = found.order_by("created_at", "run_id")
            oldest = list(found.values_list("run_id", flat=True)[:RUNS_A_LOOK])
            claim = next(filter(None, map(claimed, oldest)), None)
            if len(oldest) < RUNS_A_LOOK:
                break
            lost += oldest
        return claim

    claim = look()
    if claim is not None or wait_s <= 0:
        return claim
    return _wait(wait_s, look=look, is_over=lambda: False)


def with_work(
    runs: QuerySet[Run], kind: str, categories: list[str] | None, barred: Sequence[str] = ()
) -> QuerySet[Run]:
    """Return those live runs that have a phase to build, or an audit to do, of one of the categories.

    Audits of the keys `barred` are no work.
    """
    phases = Phase.objects.filter(run=OuterRef("pk"))
    if categories:
        phases = phases.filter(task_category__in=categories)
    if kind == "build":
        work = Exists(phases.claimable())
    else:
        wanted = Attempt.objects.audits().filter(run=OuterRef("pk"), state=AttemptState.WANTED)
        if categories:
            wanted = wanted.filter(phase__task_category__in=categories)
        if barred:
            wanted = wanted.exclude(pk__in=barred)
        work = Exists(wanted)
    return runs.filter(work, state__in=LIVE_RUN_STATES)


def own_audits(runs: QuerySet[Run], agent: str) -> list[str]:
    """Return the wanted audits that are not for the agent, since it wrote what another must approve. One query."""
    wanted = Attempt.objects.audits().filter(state=AttemptState.WANTED, run__in=runs, target__agent=agent)
    own = wanted.filter(run__state__in=LIVE_RUN_STATES).select_related("target__phase").order_by("created_at")
    needed = "purpose", "target__agent", "target__candidate_sha", "target__report", "target__phase__limits"
    own = own.only("target", "target__phase", *needed)
    return [audit.pk for audit in own[:MAX_LOST] if agent and barred_from(audit) == agent]


def with_work_of_others(
    runs: QuerySet[Run], kind: str, categories: list[str] | None, agent: str, barred: Sequence[str] = ()
) -> list[str]:
    """Return those runs with work that declare the agent, but for none of the categories of that work.

    To claim in one of them would take its lock for nothing, four times a second for each agent that waits.
    """
    role = "builders" if kind == "build" else "auditors"
    found = with_work(runs, kind, categories, barred).filter(**{f"config__{role}__has_key": agent})
    listed = KeyTransform("categories", KeyTransform(agent, KeyTransform(role, "config")))
    by_taken: dict[tuple[str, ...], list[str]] = {}
    for run_id, declared in found.order_by("created_at", "run_id").values_list("run_id", listed)[:MAX_LOST]:
        if taken := agents.canonical(declared or ()):
            by_taken.setdefault(taken, []).append(run_id)
    others: list[str] = []
    for taken, names in by_taken.items():
        both = [one for one in taken if not categories or one in categories]
        having = (
            with_work(Run.objects.filter(pk__in=names), kind, both, barred) if both else Run.objects.none()
        )
        fit = set(having.values_list("pk", flat=True))
        others += [name for name in names if name not in fit]
    return others


def in_turn(run_id: str, phase_id: str, work: Callable[[], T], *, wait_s: float) -> T:
    """Do the work; where that raises PhaseNotReady as the phase's turn is still to come, wait and do it again.

    Clients that claim nothing know no turns: they hand in one phase after the other. Waits wait_s seconds at the
    most, and not at all when the waiters' places are taken.
    """
    queued = Phase.objects.filter(
        run_id=run_id, phase_id=phase_id, run__state__in=ACTIVE_RUN_STATES, state=PhaseState.QUEUED
    )
    try:
        return work()
    except PhaseNotReady as early:
        if not early.is_early:
            raise  # it is booked as late: taken now, it would be booked twice
        deadline = time.monotonic() + wait_s
        try:
            with waiters.place():
                while not queued.filter(ready_at__isnull=False).exists():
                    if time.monotonic() >= deadline or not queued.exists():
                        raise early
                    time.sleep(INTERVAL_S)
        except WaitersFull:
            raise early from None
    return work()


def _wait(wait_s: float, *, look: Callable[[], Claim | None], is_over: Callable[[], bool]) -> Claim | None:
    deadline = time.monotonic() + wait_s
    with waiters.place():
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(INTERVAL_S, left))
            claim = look()
            if claim is not None or is_over():
                return claim
    return None
