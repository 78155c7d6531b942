"""What people do when work does not move: send its message again, wake its run. Each one transaction."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from autopack_site.kernel.errors import Conflict
from runs import outbox
from runs.errors import RunEnded, RunNotFound
from runs.models import Outbox, Run


class WorkDone(Conflict):
    """The row is gone: its work is done, or was called off."""

    code = "work-done"
    title = "The work is done or called off"


class UnknownTopic(Conflict):
    """No task serves the row's topic: another release wrote it."""

    code = "unknown-topic"
    title = "No task serves this topic"


@transaction.atomic
def send_again(outbox_pk: int) -> Outbox:
    """Send an open row's message now, also one that was put off; return the row.

    Raises WorkDone and UnknownTopic. Safe to repeat: messages may come twice.
    """
    row = Outbox.objects.select_for_update().filter(pk=outbox_pk).first()
    if row is None:
        raise WorkDone
    if row.topic not in settings.AUTOPACK_TOPICS:
        raise UnknownTopic(f"No task serves {row.topic}")
    # a worker drops the message of a row that is put off, so this one no longer is
    Outbox.objects.filter(pk=row.pk, sent_at=None, due_at__gt=Now()).update(due_at=Now())
    outbox.nudge(row.topic, row.key)
    return row


@transaction.atomic
def wake_run(run_id: str) -> Run:
    """Have the supervisor look at a run now; return the run. Raises RunNotFound and RunEnded. Safe to repeat."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise RunNotFound(f"Run {run_id} not found")
    if run.is_terminal:
        raise RunEnded(f"Run {run_id} has ended: {run.state}", state=run.state)
    outbox.enqueue("run.step", run_id, run_id=run_id)
    return run
