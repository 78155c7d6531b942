"""Building a candidate while the caller waits, for as long as it may."""

from __future__ import annotations

import contextvars
import threading

import structlog
from django.conf import settings
from django.db import connections

from runs import ports

log = structlog.get_logger(__name__)
# Builds that outlive their request go on; no more than this many at once, the rest is left to workers.
MAX_THREADS = 8
_change = threading.Condition()
_running = 0


def build_within(attempt_id: str, limit_s: float | None = None) -> bool:
    """Have the candidate built by the workspace port; wait at most limit_s seconds (settings.APPLY_LIMIT_S).

    Call it outside any transaction, after the submission is committed. Returns whether the build ended in
    time; its outcome is on the attempt's row. A build that takes longer goes on in its own thread, one that
    fails or finds no thread free is a worker's: the outbox row of the submission stays open until the
    outcome is recorded. Never raises for a failed build.
    """
    global _running
    with _change:
        if _running >= MAX_THREADS:
            log.info("candidate.left_to_worker", attempt_id=attempt_id)
            return False
        _running += 1
    done = threading.Event()
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(_build, attempt_id, done), name=f"candidate-{attempt_id}", daemon=True
    )
    thread.start()
    return done.wait(settings.APPLY_LIMIT_S if limit_s is None else limit_s)


def idle(limit_s: float) -> bool:
    """Wait until no build of this process goes on; False when limit_s seconds were not enough."""
    with _change:
        return _change.wait_for(lambda: _running == 0, limit_s)


def _build(attempt_id: str, done: threading.Event) -> None:
    global _running
    try:
        ports.workspace().build_candidate(attempt_id)
    except Exception as error:  # whatever it is, the submission stands and a worker tries again
        log.exception("candidate.build_failed", attempt_id=attempt_id, error=type(error).__name__)
    finally:
        connections.close_all()  # this thread's own
        with _change:
            _running -= 1
            _change.notify_all()
        done.set()
