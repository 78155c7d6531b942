"""The real stack for flow tests: workers and beat as separate processes on the test's PostgreSQL and Redis."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autopack_site.children import spawn

ALL_QUEUES = "agent,gate,merge,sweep"
ROOT = Path(__file__).resolve().parents[2]
# Lengths in seconds: as short as two loaded cores allow without losing living workers.
FAST = {
    "AUTOPACK_LEASE_TTL_S": "3",
    "AUTOPACK_LEASE_RENEW_S": "0.5",
    "AUTOPACK_LEASE_LOST_S": "2",
    "AUTOPACK_SWEEP_S": "0.5",
    "AUTOPACK_OUTBOX_RESEND_S": "1",
    "AUTOPACK_GATE_BACKOFF_S": "0.2",
    "AUTOPACK_SOFT_SHUTDOWN_S": "1",
    "AUTOPACK_LOG_LEVEL": "WARNING",
    "CELERY_SKIP_CHECKS": "1",  # they load every URL and admin page: a quarter of a worker's start
    "PYTHONWARNINGS": "ignore",
    "REMAP_SIGTERM": "SIGQUIT",
}


def eventually(
    check: Callable[[], Any],
    *,
    timeout_s: float = 60.0,
    every_s: float = 0.05,
    what: str | Callable[[], str] = "",
    alive: Any = None,
) -> Any:
    """Wait until check returns something true, and return it; fail with `what` after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what() if callable(what) else what or check}")
        time.sleep(every_s)


@dataclass
class Stack:
    """Worker and beat processes that a test may start, kill, freeze and thaw."""

    environment: dict[str, str]
    log_dir: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    count: int = 0

    def start(self, *argv: str, label: str, extra: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start one process in a group of its own; its output goes to a file named by label."""
        self.count += 1
        log = self.log_dir / f"{self.count:03}-{label}.log"
        with log.open("wb") as out:
            process = spawn(
                [sys.executable, "-m", *argv],
                cwd=ROOT,
                env={**self.environment, **(extra or {})},
                stdout=out,
                stderr=subprocess.STDOUT,
                death_signal=signal.SIGKILL,  # a killed test run leaves no worker behind
            )
        self.processes.append(process)
        return process

    def worker(
        self,
        *,
        queues: str = ALL_QUEUES,
        concurrency: int = 2,
        log_level: str = "WARNING",
        extra: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a Celery worker as production does, on some queues."""
        name = f"w{self.count + 1}"
        return self.start(
            "celery", "--quiet", "--app", "autopack_site", "worker", "--queues", queues, "--hostname", f"{name}@%h",
            "--pool", "prefork", "--concurrency", str(concurrency), "--without-gossip", "--without-mingle",
            "--loglevel", log_level, label=f"worker-{name}", extra=extra,
        )  # fmt: skip

    def beat(self) -> subprocess.Popen[bytes]:
        """Start a beat, with its schedule in a file so that two of them know nothing of each other."""
        schedule = self.log_dir / f"beat-{self.count}"
        return self.start(
            "celery", "--quiet", "--app", "autopack_site", "beat", "--scheduler", "celery.beat:PersistentScheduler",
            "--schedule", str(schedule), "--pidfile", "", "--loglevel", "WARNING", label="beat",
        )  # fmt: skip

    def web(self) -> str:
        """Start gunicorn as production does; return the address of the API once it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            bind = f"127.0.0.1:{probe.getsockname()[1]}"
        self.start(
            "gunicorn", "autopack_site.wsgi:application", "--bind", bind, "--worker-class", "gthread",
            "--workers", "1", "--threads", "12", "--no-control-socket", label="web",
        )  # fmt: skip
        base = f"http://{bind}"

        def is_up() -> bool:
            try:
                with urllib.request.urlopen(f"{base}/health", timeout=5) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        eventually(is_up, what="the web server")
        return base

    def kill(
        self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL, *, group: bool = True
    ) -> None:
        """Send a signal to a process and, with `group`, to everything it started."""
        try:
            if group:
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)
        except ProcessLookupError:
            pass
        if number == signal.SIGKILL:
            process.wait(timeout=20)

    def children(self, process: subprocess.Popen[bytes]) -> list[int]:
        """Return the pool processes of a worker."""
        path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            return [int(pid) for pid in path.read_text().split()]
        except FileNotFoundError:
            return []

    def logs(self) -> str:
        """Return the tails of all logs, for a failure's message."""
        parts = []
        for path in sorted(self.log_dir.glob("*.log")):
            text = path.read_text(errors="replace")[-4000:]
            if text.strip():
                parts.append(f"--- {path.name}\n{text}")
        return "\n".join(parts)

    def stop(self) -> None:
        """Kill everything."""
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)
        self.processes.clear()


def running(environment: dict[str, str], log_dir: Path) -> Iterator[Stack]:
    """Yield a stack and kill what it started."""
    log_dir.mkdir(parents=True, exist_ok=True)
    stack = Stack(environment, log_dir)
    try:
        yield stack
    finally:
        stack.stop()
