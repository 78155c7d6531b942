"""The Celery app. The queue carries hints only; PostgreSQL rows are the truth, so no results are kept.

A worker keeps its database connection from task to task, as a web process does from request to request: old or
broken ones are closed between tasks, and the first query of a task looks whether the other end still answers
(CONN_MAX_AGE, CONN_HEALTH_CHECKS). So a database that was restarted costs at most the task that it interrupted.

A task runs under the correlation id of the request that wanted it, handed on by the outbox; one that no request
wanted (a sweep) gets an id of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any

from celery import Celery, signals

from autopack_site import garbage
from autopack_site.kernel import correlation

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopack_site.settings")

app = Celery("autopack")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Left to itself Celery closes the connection before and after each task; the setting has no form under our prefix.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
app.autodiscover_tasks()
import_module("autopack_site.worker_logs")  # reads the settings, so after they are named
import_module("autopack_site.orphans")


@signals.worker_init.connect
def keep_what_is_loaded(**_: Any) -> None:
    """Before the pool is forked, so that its processes share the pages of what nobody looks at."""
    garbage.keep_what_is_loaded()


@signals.task_prerun.connect
@signals.task_postrun.connect
def close_stale_connections(task: Any = None, **_: Any) -> None:
    """Close connections that are old or broken, between tasks of a worker."""
    if task is None or not task.request.is_eager:
        from django.db import close_old_connections

        close_old_connections()


@signals.task_prerun.connect
def bind_correlation(
    task: Any = None, task_id: str = "", kwargs: dict[str, Any] | None = None, **_: Any
) -> None:
    """Bind the message's correlation id, the task's and its run's to all that the task logs and writes."""
    if task is not None and not task.request.is_eager:
        value = (task.request.headers or {}).get(correlation.MESSAGE_HEADER)
        run = {name: str(run_id) for name, run_id in (kwargs or {}).items() if name == "run_id"}
        correlation.bind(value, task_id=task_id, **run)


@signals.beat_init.connect
def stop_between_ticks(sender: Any, **_: Any) -> None:
    """Have beat stop where it holds nothing.

    Celery's own handler closes the connection to the broker from within the signal, wherever that has struck: in the
    middle of a publication it waits for a lock that its own thread holds, until it is killed.
    """

    tick, is_told = sender.scheduler.tick, False

    def stop(_signal: int, frame: Any) -> None:
        nonlocal is_told
        is_told = True
        if frame is not None and frame.f_code is type(sender).start.__code__:  # asleep between two ticks
            raise SystemExit

    def tick_and_stop(*args: Any, **options: Any) -> Any:
        interval = tick(*args, **options)
        if is_told:
            raise SystemExit
        return interval

    sender.scheduler.tick = tick_and_stop

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)


@signals.task_postrun.connect
def clear_correlation(task: Any = None, **_: Any) -> None:
    """Forget both."""
    if task is not None and not task.request.is_eager:
        correlation.clear()
