"""Keeping a lease while a command runs: a thread that renews, and says when the lease is lost."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from types import TracebackType

import structlog
from django.conf import settings
from django.db import connection

from autopack_site.kernel.errors import Conflict

log = structlog.get_logger(__name__)


class Renewal:
    """Renew every LEASE_RENEW_S seconds while the block runs.

    `is_lost()` turns True when the lease is refused, or when renewing failed for LEASE_LOST_S seconds (a
    database that is away): the holder must then stop its command and write nothing. `renew` raises a
    Conflict for a lease that no longer holds; any other error is tried again.
    """

    def __init__(self, renew: Callable[[], object]) -> None:
        self._renew = renew
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._renewed_at = time.monotonic()
        context = contextvars.copy_context()  # its log lines carry the task's correlation id
        self._thread = threading.Thread(
            target=context.run, args=(self._loop,), daemon=True, name="lease-renewal"
        )

    def __enter__(self) -> Renewal:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def is_lost(self) -> bool:
        """Tell whether the holder must stop.

        Judged by the time since the last success too, so that a process that was frozen past its lease
        stops before the thread has run again.
        """
        late = time.monotonic() - self._renewed_at > max(settings.LEASE_LOST_S, settings.LEASE_RENEW_S)
        return self._lost.is_set() or late

    def wait(self, seconds: float) -> bool:
        """Sleep while the lease holds; return False when it was lost."""
        self._lost.wait(seconds)
        return not self.is_lost()

    def _loop(self) -> None:
        try:
            while not self._stop.wait(settings.LEASE_RENEW_S):
                try:
                    self._renew()
                    self._renewed_at = time.monotonic()
                except Conflict:
                    self._lost.set()
                    return
                except Exception as error:  # the database may be away: the time since success decides
                    log.warning("lease.renew_failed", error=type(error).__name__)
                    connection.close()
        finally:
            connection.close()
