"""The one function that moves a machine, and the one that notes what moved nothing."""

from __future__ import annotations

from typing import Any

import structlog
from django.db.models import F

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import PreparedInsert
from autopack_site.kernel.problem import correlation_id
from runs import lifecycle, outbox
from runs.errors import LostRace
from runs.models import Phase, Run, Tier, Transition

log = structlog.get_logger(__name__)
SYSTEM = "autopack"
FILES_DELAY_S = 1.0
_append = PreparedInsert(Transition)
_ENDS = {"run": lifecycle.TERMINAL_RUN_STATES, "tier": lifecycle.TERMINAL_TIER_STATES}


def _names(subject: Run | Tier | Phase) -> tuple[str, str, str]:
    """Return (machine, subject id, run id)."""
    if isinstance(subject, Run):
        return "run", subject.run_id, subject.run_id
    if isinstance(subject, Tier):
        return "tier", subject.tier_id, subject.run_id
    return "phase", subject.phase_id, subject.run_id


def move(
    subject: Run | Tier | Phase,
    event: str,
    *,
    who: str = SYSTEM,
    why: str = "",
    data: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Move subject by event: a conditional update and one event row in the caller's transaction.

    `fields` are written with it. Raises IllegalTransition where the table has no such move and LostRace
    where another worker moved the row since it was read. The instance is brought up to date.
    """
    machine, name, run_id = _names(subject)
    old = subject.state
    new = lifecycle.after(lifecycle.MACHINES[machine], old, event)
    now = clock.now()
    if new in _ENDS.get(machine, lifecycle.TERMINAL_PHASE_STATES):
        fields["completed_at"] = now
    rows = (
        type(subject)
        ._default_manager.filter(pk=subject.pk, state=old, version=subject.version)
        .update(state=new, version=F("version") + 1, **fields)
    )
    if rows != 1:
        raise LostRace(f"{machine} {name} is no longer {old}")
    subject.state = new
    subject.version += 1
    for field, value in fields.items():
        setattr(subject, field, value)
    _append(
        run_id=run_id,
        machine=machine,
        subject=name,
        version=subject.version,
        from_state=old,
        to_state=new,
        event=event,
        who=who,
        why=why[:4000],
        data=data or {},
        correlation_id=correlation_id() or "",
        at=now,
    )
    write_files(run_id, at_once=machine == "run" and new in lifecycle.TERMINAL_RUN_STATES)
    log.info(f"{machine}.{event}", run_id=run_id, subject=name, state=str(new))


def note(
    subject: Run | Tier | Phase,
    event: str,
    *,
    who: str = SYSTEM,
    why: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    """Record an observation that moves nothing: an expired lease, a red gate's retry, a late report."""
    machine, name, run_id = _names(subject)
    _append(
        run_id=run_id,
        machine=machine,
        subject=name,
        version=None,
        from_state=subject.state,
        to_state=subject.state,
        event=event,
        who=who,
        why=why[:4000],
        data=data or {},
        correlation_id=correlation_id() or "",
        at=clock.now(),
    )
    write_files(run_id)
    log.info(f"{machine}.{event}", run_id=run_id, subject=name)


def write_files(run_id: str, *, at_once: bool = False) -> None:
    """Have the run's files written: a burst of changes once, at the next sweep; an ended run at once."""
    outbox.enqueue("artefacts.write", run_id, delay_s=0.0 if at_once else FILES_DELAY_S, run_id=run_id)
