"""What a Celery worker says past all loggers, when signals reach it, as a JSON line like the others.

Celery writes it straight to the descriptor: a signal's handler must not wait for a lock that the interrupted
code may hold. So does this.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from celery import signals
from django.conf import settings


def say(message: str, stream: Any = None) -> None:
    """Write one line; a closed stream loses it."""
    line = {
        "event": message,
        "level": "info",
        "logger": "celery.worker",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    try:
        descriptor = 2 if stream is None else stream.fileno()
        os.write(descriptor, f"{json.dumps(line)}\n".encode())
    except (OSError, ValueError):
        return


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def keep_level(logger: logging.Logger | None = None, **_: Any) -> None:
    """Keep the level that the settings name: a worker's option `--loglevel` would take its place."""
    if logger is not None:
        logger.setLevel(settings.LOG_LEVEL)


@signals.celeryd_init.connect
def speak_json(**_: Any) -> None:
    """Take the place of Celery's own function, where logs are JSON."""
    if settings.LOG_JSON:
        from celery.apps import worker

        worker.safe_say = say
