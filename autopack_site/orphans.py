"""Pool processes whose worker was killed: each finishes what it does, and leaves.

A process of Celery's pool learns of its worker's end by the end of its pipe. But those that were forked at one time
hold each other's ends: killed in the moment after the fork, a worker leaves processes that wait for each other for
ever, each with a connection to the database.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from celery import signals

LOOK_EVERY_S = 1.0
_at_work = threading.Event()
_worker = 0  # the process id of the worker; its pool inherits it


@signals.task_prerun.connect
def _begin(**_: Any) -> None:
    _at_work.set()


@signals.task_postrun.connect
def _end(**_: Any) -> None:
    _at_work.clear()


@signals.worker_init.connect
def remember(**_: Any) -> None:
    """Note whose children the processes of the pool are to be, before they are forked."""
    global _worker
    _worker = os.getpid()


@signals.worker_process_init.connect
def watch(**_: Any) -> None:
    """Have a thread of this pool process look whether its worker is still there."""
    if _worker not in (0, os.getpid()):  # a pool of threads or none is the worker itself
        threading.Thread(target=_leave_when_alone, args=(_worker,), name="orphan-watch", daemon=True).start()


def _leave_when_alone(worker: int) -> None:
    while os.getppid() == worker:
        time.sleep(LOOK_EVERY_S)
    while _at_work.is_set():
        time.sleep(LOOK_EVERY_S)
    os._exit(0)  # nothing is in hand, and what would be left behind (threads, locks of the pool) is nobody's
