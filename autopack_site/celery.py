"""The Celery app. The queue carries hints only; PostgreSQL rows are the truth, so no results are kept.

A worker keeps its database connection from task to task, as a web process does from request to request: old or
broken ones are closed between tasks, and the first query of a task looks whether the other end still answers
(CONN_MAX_AGE, CONN_HEALTH_CHECKS). So a database that was restarted costs at most the task that it interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopack_site.settings")

app = Celery("autopack")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Left to itself Celery closes the connection before and after each task; the setting has no form under our prefix.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
app.autodiscover_tasks()
import_module("autopack_site.worker_logs")  # reads the settings, so after they are named


@signals.task_prerun.connect
@signals.task_postrun.connect
def close_stale_connections(task: Any = None, **_: Any) -> None:
    """Close connections that are old or broken, between tasks of a worker."""
    if task is None or not task.request.is_eager:
        from django.db import close_old_connections

        close_old_connections()
