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
LOOK_S = 0.25


class Renewal:
    """Renew every LEASE_RENEW_S seconds while the block runs.

    `is_lost()` turns True when the lease is refused, or when renewing failed for LEASE_LOST_S seconds (a
    database that is away): the holder must then stop its command and write nothing. `renew` raises a
    Conflict for a lease that no longer holds; any other error is tried again. `has_news` is asked every LOOK_S
    seconds: when there is some, the lease is renewed at once.
    """

    def __init__(self, renew: Callable[[], object], *, has_news: Callable[[], bool] | None = None) -> None:
        self._renew = renew
        self._has_news = has_news
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

    def _wait(self) -> bool:
        """Wait until the lease is to be renewed; True when that is over."""
        if self._has_news is None:
            return self._stop.wait(settings.LEASE_RENEW_S)
        due = time.monotonic() + settings.LEASE_RENEW_S
        while (left := due - time.monotonic()) > 0:
            if self._stop.wait(min(LOOK_S, left)):
                return True
            try:
                if self._has_news():
                    return False
            except Exception as error:  # what the command writes must not cost it the lease
                log.warning("lease.news_failed", error=type(error).__name__)
        return False

    def _loop(self) -> None:
        try:
            while not self._wait():
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
