"""What comes late: usage and issues are taken all the same, and once; the result is not.

A delivery is known again by its `work`, a hash of what was handed in, and by a hash of the issues with it. Of results
that were taken both are in the attempt's report, of late ones in the event `late_result`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import Any

from django.db.models import Q

from runs import agents, budgets, meters, ports
from runs.caps import Envelope
from runs.errors import LeaseNotFound
from runs.figures import Figures, read
from runs.lifecycle import AttemptState
from runs.models import Attempt, Lease, Phase, Transition
from runs.ports import IssueReport
from runs.services.lookup import phase_of, reload
from runs.supervisor import locked_run
from runs.transitions import note

DELIVERY = "delivery"
_AT_WORK = (AttemptState.WANTED, AttemptState.RUNNING)


def delivery(work: str, issues: Iterable[IssueReport]) -> dict[str, str]:
    """Return what a delivery is known by when it comes again. Issues are told apart by the work they came with."""
    found = {"work": work}
    if rows := [astuple(issue) for issue in issues]:
        found["issues"] = hashlib.sha256(json.dumps([work, rows]).encode()).hexdigest()
    return found


def rest_of(
    phase: Phase, agent: str, work: str, usage: budgets.Usage, issues: tuple[IssueReport, ...]
) -> tuple[budgets.Usage, tuple[IssueReport, ...]]:
    """Return what of a delivery is not booked yet: all of it, unless it was refused as late and comes again.

    A client that is refused tries again, and may be taken then. One query.
    """
    before = list(_events(phase, agent).filter(data__delivery__work=work).values_list("data", flat=True))
    if any(row[DELIVERY].get("issues") == delivery(work, issues).get("issues") for row in before):
        issues = ()
    known = _figures(before)
    if not known.is_empty:
        now = read({**usage.detail, "tokens": usage.tokens})
        usage = meters.usage_from(now.beyond(known))
    return usage, issues


def book_late(
    lease_id: str, usage: budgets.Usage, issues: Iterable[IssueReport] = (), *, work: str = ""
) -> None:
    """Book the usage and the issues that came for a lease that no longer holds. Raises LeaseNotFound."""
    lease = Lease.objects.filter(pk=lease_id).first()
    if lease is None:
        raise LeaseNotFound(f"Lease {lease_id} not found")
    with locked_run(lease.run_id):
        pass  # a lease that ran out and was not swept yet is lost by the advance at the block's end
    with locked_run(lease.run_id):
        attempt = Attempt.objects.select_related("phase").get(pk=lease.attempt_id)
        has_ended = attempt.state not in _AT_WORK  # else its usage is told by its own result
        is_booked = has_ended and meters.book_late(attempt, usage)
        found = tuple(issues)
        told = delivery(work, found)
        is_news = _record(attempt.phase, lease.owner, found, told, attempt.base_commit)
        if is_booked or is_news:
            data = {"attempt": attempt.pk, "overrun": attempt.overrun, DELIVERY: told}
            if has_ended:
                data["usage"] = _said(usage)
            note(attempt.phase, "late_result", who=lease.owner, data=data)


def book_refused(
    run_id: str,
    phase_id: str,
    *,
    agent: str,
    kind: Envelope,
    work: str,
    usage: budgets.Usage,
    issues: tuple[IssueReport, ...],
) -> None:
    """Book the usage and the issues of a result that named no lease and came too late to be taken.

    Usage is the attempt's that the agent handed the same work in with, or lost; else it is a line of the phase's
    own: the agent worked, though nobody had asked it to. Figures of one work only grow, so a delivery may be
    repeated. An agent that does not take the phase spends nothing of it. Raises RunNotFound and PhaseNotFound.
    """
    with locked_run(run_id):
        pass  # as in `book_late`
    with locked_run(run_id) as run:
        phase = phase_of(run, phase_id)
        told = delivery(work, issues)
        attempt = _own_attempt(phase, agent, kind, work)
        before = list(_events(phase, agent).filter(data__delivery__work=work).values_list("data", flat=True))
        found: dict[str, Any] = {"attempt": None, DELIVERY: told}
        is_news = False
        if attempt is not None:
            attempt.phase = phase
            is_news = meters.book_late(attempt, usage)
            found |= {"attempt": attempt.pk, "overrun": attempt.overrun, "usage": _said(usage)}
        elif _takes(phase, agent, kind):
            is_news = meters.book_alone(phase, kind, _figures(before), usage)
            reload(phase, run)
            found |= {"overrun": phase.overrun, "usage": _said(usage)}
        base = attempt.base_commit if attempt is not None else ""
        is_news = _record(phase, agent, issues, told, base) or is_news
        if is_news or not before:
            note(phase, "late_result", who=agent, data=found)


def _record(
    phase: Phase, agent: str, issues: tuple[IssueReport, ...], told: dict[str, str], base: str
) -> bool:
    """Record issues that this agent has not delivered before with the same work; tell whether there were any."""
    if not issues:
        return False
    name = told["issues"]
    if phase.attempts.filter(agent=agent, report__delivery__issues=name).exists():
        return False
    if _events(phase, agent).filter(data__delivery__issues=name).exists():
        return False
    ports.ledger().record(phase.pk, issues, reporter=agent, base=base)
    return True


def _own_attempt(phase: Phase, agent: str, kind: Envelope, work: str) -> Attempt | None:
    """Return the agent's attempt that the work belongs to: the one it was handed in with, or its last lost one."""
    own = phase.attempts.filter(kind=kind, agent=agent).exclude(state__in=_AT_WORK).order_by("-created_at")
    handed_in = Q(patch_hash=work) | Q(report__delivery__work=work)
    return own.filter(handed_in, submitted_at__isnull=False).first() or own.filter(submitted_at=None).first()


def _takes(phase: Phase, agent: str, kind: Envelope) -> bool:
    taken = agents.taken_by(phase.run, agent, kind)
    return taken is None or phase.task_category in taken


def _events(phase: Phase, agent: str) -> Any:
    return Transition.objects.filter(
        run=phase.run_id, machine="phase", subject=phase.phase_id, event="late_result", who=agent
    )


def _said(usage: budgets.Usage) -> dict[str, Any]:
    return read({**usage.detail, "tokens": usage.tokens}).to_json()


def _figures(events: Iterable[Mapping[str, Any]]) -> Figures:
    """Return what was told, and so is booked, of one work over all its deliveries."""
    known = Figures()
    for event in events:
        known, _lower = known.grown(read(event.get("usage")))
    return known
