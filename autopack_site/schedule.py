"""What people do to the beat's schedule: run a task now, pause it, let it go on."""

from __future__ import annotations

from celery import current_app
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from kombu.utils.json import loads

from autopack_site.kernel.errors import AutopackError, Conflict


class BrokerAway(AutopackError):
    """The message could not be handed to the broker."""

    code, status, retryable = "broker-away", 503, True
    title = "The broker does not answer"


class AlreadySo(Conflict):
    """The schedule is in the state that was asked for."""

    code = "already-so"
    title = "The task is in that state already"


def run_now(task: PeriodicTask) -> None:
    """Send the task's message once, beside its schedule. Raises BrokerAway.

    Every scheduled task is a sweep that may run twice or at any time.
    """
    try:
        current_app.send_task(
            task.task,
            args=loads(task.args),
            kwargs=loads(task.kwargs),
            queue=task.queue or None,
            ignore_result=True,
        )
    except Exception as error:  # any broker fault: kombu raises many unrelated types
        raise BrokerAway(f"{BrokerAway.title}: {type(error).__name__}") from error


def set_enabled(task: PeriodicTask, *, is_enabled: bool) -> None:
    """Pause the task or let it go on, and tell beat. Raises AlreadySo."""
    changed = PeriodicTask.objects.filter(pk=task.pk, enabled=not is_enabled).update(enabled=is_enabled)
    if not changed:
        raise AlreadySo(f"{task.name} is {'on' if is_enabled else 'paused'} already")
    PeriodicTasks.update_changed()
