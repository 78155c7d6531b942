"""Building a candidate while the caller waits, for as long as it may."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import close_old_connections

from runs import outbox, ports

log = structlog.get_logger(__name__)
# Builds that outlive their request go on; no more than this many at once, the rest is left to workers.
MAX_THREADS = 8


class _Builders:
    """Daemon threads that are kept between builds, as each has a database connection of its own.

    Unlike an executor's they never hold up the end of the process: whatever they leave is a worker's.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._running = 0
        self._threads = 0

    def take(self, work: Callable[[], None]) -> bool:
        """Have work done by a thread that is free, or by a new one; False when MAX_THREADS are at work."""
        with self._change:
            if self._running >= MAX_THREADS:
                return False
            self._running += 1
            if self._running > self._threads:
                self._threads += 1
                threading.Thread(target=self._serve, name="candidates", daemon=True).start()
        self._work.put(work)
        return True

    def idle(self, limit_s: float) -> bool:
        """Wait until nothing is at work; False when limit_s seconds were not enough."""
        with self._change:
            return self._change.wait_for(lambda: self._running == 0, limit_s)

    def _serve(self) -> None:
        while True:
            work = self._work.get()
            try:
                close_old_connections()
                work()
                close_old_connections()
            except Exception as error:  # a thread that ended here would keep its place for ever
                log.exception("candidate.thread_failed", error=type(error).__name__)
            finally:
                with self._change:
                    self._running -= 1
                    self._change.notify_all()


_builders = _Builders()


def build_within(attempt_id: str, limit_s: float | None = None) -> bool:
    """Have the candidate built by the workspace port; wait at most limit_s seconds (settings.APPLY_LIMIT_S).

    Call it outside any transaction, after the submission is committed. Returns whether the build ended in
    time; its outcome is on the attempt's row. A build that takes longer goes on in its own thread, one that
    fails or finds no thread free is a worker's: the outbox row of the submission stays open until the
    outcome is recorded. A candidate that is green at once (its gate is waived) is merged by the same thread
    after the caller was let go. Never raises for a failed build.
    """
    done = threading.Event()
    context = contextvars.copy_context()
    if not _builders.take(lambda: context.run(_build, attempt_id, done)):
        log.info("candidate.left_to_worker", attempt_id=attempt_id)
        return False
    return done.wait(settings.APPLY_LIMIT_S if limit_s is None else limit_s)


def idle(limit_s: float) -> bool:
    """Wait until no build of this process goes on; False when limit_s seconds were not enough."""
    return _builders.idle(limit_s)


def _build(attempt_id: str, done: threading.Event) -> None:
    with outbox.taken("candidate.merge") as green:
        try:
            ports.workspace().build_candidate(attempt_id)
        except Exception as error:  # whatever it is, the submission stands and a worker tries again
            log.exception("candidate.build_failed", attempt_id=attempt_id, error=type(error).__name__)
        finally:
            done.set()
    for row in green:
        try:
            ports.workspace().merge(row.key)
        except Exception as error:  # likewise
            log.exception("candidate.merge_failed", attempt_id=row.key, error=type(error).__name__)
            outbox.publish(row)
