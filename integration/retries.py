"""What people do when a gate or a move of a branch does not go on. What the sweep would do, now and for one row."""

from __future__ import annotations

from django.db import transaction

from autopack_site.kernel import clock
from autopack_site.kernel.errors import Conflict, NotFound
from integration import gate
from integration.models import GateRun, GitIntent
from runs import outbox


class GateEnded(Conflict):
    """The gate run has its verdict, or was called off."""

    code = "gate-ended"
    title = "The gate run has ended"


class GateAtWork(Conflict):
    """A worker holds the gate run, and renews its lease."""

    code = "gate-at-work"
    title = "A worker is at the gate run"


class MoveDone(Conflict):
    """The branch has been moved: nothing is to be done."""

    code = "move-done"
    title = "The move is done"


class NoSuchWork(NotFound):
    """No such gate run or move."""

    code = "no-such-work"
    title = "No such gate run or move"


def retry_gate(gate_id: str) -> str:
    """Bring a gate run on: end it past its deadline, take it back from a lost worker, or send its message again.

    Returns what was done, in words. Raises NoSuchWork, GateEnded and GateAtWork.
    """
    now = clock.database_now()
    found = GateRun.objects.filter(pk=gate_id).first()
    if found is None:
        raise NoSuchWork(f"No gate run {gate_id[:64]}")
    if found.deadline_at <= now and gate.expire(found, now):
        return "Ended past its deadline"
    if gate.take_back(found, now):
        return "Taken back from its worker and sent again"
    if found.state not in (GateRun.State.WAITING, GateRun.State.RUNNING):
        raise GateEnded(f"Gate run {gate_id} has ended: {found.verdict or found.state.lower()}")
    if found.state == GateRun.State.RUNNING:
        raise GateAtWork(f"{found.owner} is at gate run {gate_id}")
    with transaction.atomic():
        outbox.enqueue("gate.run", found.pk, gate_run_id=found.pk)
    return "Sent again"


@transaction.atomic
def retry_move(intent_id: str) -> str:
    """Bring a move of a branch on: due at once for the next sweep, or, when given up, its undoing sent again.

    Returns what was done, in words. Raises NoSuchWork and MoveDone.
    """
    intent = GitIntent.objects.select_for_update().filter(pk=intent_id).first()
    if intent is None:
        raise NoSuchWork(f"No move {intent_id[:64]}")
    if intent.state == GitIntent.State.DONE:
        raise MoveDone(f"{intent.ref} was moved to {intent.new_sha[:12]}")
    if intent.state == GitIntent.State.CONFLICT:
        outbox.enqueue("move.undo", intent.pk, intent_id=intent.pk)
        return "Its undoing was sent again"
    GitIntent.objects.filter(pk=intent.pk).update(due_at=clock.database_now())
    return "Due at once"
