"""Waiting for what other processes do: a condition with a deadline, never a fixed pause."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def until(condition: Callable[[], object], *, limit_s: float = 20.0) -> None:
    """Return as soon as the condition holds; raise AssertionError after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold in time"
        time.sleep(0.02)


@contextmanager
def bounded(
    argv: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None, limit_s: float = 60.0
) -> Iterator[subprocess.Popen[str]]:
    """Start a process, its output piped; kill it after `limit_s` seconds, so that no read waits for ever."""
    with subprocess.Popen(argv, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True) as process:
        watch = threading.Timer(limit_s, process.kill)
        watch.daemon = True
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()
            process.kill()
