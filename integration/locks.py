"""Locks between processes that end with their holder, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


def locked_folder(make: Callable[[], Path]) -> tuple[Path, int]:
    """Make a folder by `make` and lock it; return it with the descriptor that holds the lock.

    A sweep of unlocked folders that comes between the two steps takes it away; then another one is made.
    """
    while True:
        folder = make()
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            if try_lock(descriptor) and folder.is_dir():
                return folder, descriptor
            os.close(descriptor)
