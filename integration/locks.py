"""Locks between processes that end with their holder, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.git_errors import GitTimedOut


@contextmanager
def held(path: Path, *, timeout_s: float) -> Iterator[int]:
    """Hold the lock file at path; yield its descriptor.

    A child that is given the descriptor keeps the lock when the holder is killed, until the child ends too.
    Raises GitTimedOut when others hold it for timeout_s.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + timeout_s
        pause_s = 0.001
        while not try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise GitTimedOut(f"{path.name} is held by another process")
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock if nobody holds it; tell whether it was taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
