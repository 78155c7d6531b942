"""The demo's own web, workers and beat: one `manage.py up`, its output in a file, ended with the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from autopack_site.children import spawn
from autopack_site.demo.errors import DemoFailed

MANAGE = settings.BASE_DIR / "manage.py"
STOP_LIMIT_S = 45.0
TAIL_LINES = 15


class Stack:
    """The running processes."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def check(self) -> None:
        """Raise DemoFailed, with the last lines of the log, when the processes have ended."""
        status = self.process.poll()
        if status is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
            told = "\n".join(lines)
            raise DemoFailed(f"The workers ended with status {status}; the end of {self.log}:\n{told}")

    def answers(self) -> bool:
        """Tell whether the web process answers."""
        try:
            with urllib.request.urlopen(f"http://{settings.BIND}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """Stop all of it; after the limit, kill what is left. Safe to repeat."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            # `up` ends with its guard, and the guard takes the rest with it.
            self.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            self.process.kill()
            self.process.wait()


@contextmanager
def stack(log: Path) -> Iterator[Stack]:
    """Run web, workers and beat while the block runs."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = spawn(
            [sys.executable, str(MANAGE), "up"],
            env={**os.environ, "AUTOPACK_LOG_LEVEL": "INFO"},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=settings.BASE_DIR,
        )
    running = Stack(process, log)
    try:
        yield running
    finally:
        running.stop()
