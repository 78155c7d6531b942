"""The processes of `manage.py up` in one foreground process: labelled output, restarts, a bounded end."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autopack_site.children import spawn

QUEUES = ("agent", "gate", "merge", "sweep")
_TICK_S = 0.2
_LINE_LIMIT_BYTES = 64 * 1024
_RESTART_DELAY_S = 1.0
_CRASHES_ALLOWED, _CRASHES_WINDOW_S = 5, 60.0
_KILL_WAIT_S = 5.0
# Gates and agents get accounts of their own under root, so Celery's warning is answered.
_WARNINGS = "ignore:You're running the worker with superuser privileges"


@dataclass(frozen=True)
class Program:
    """One line of the process table. `environment` is added to what all share."""

    label: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def process_table(
    *, bind: str, web_workers: int, web_threads: int, concurrency: Mapping[str, int]
) -> list[Program]:
    """Return the programs of a whole Autopack: web, one worker for each queue, beat.

    `concurrency` is queue name -> number of pool processes.
    """
    python = sys.executable
    celery = [python, "-m", "celery", "--quiet", "--app", "autopack_site"]
    web = Program(
        "web",
        [
            python, "-m", "gunicorn", "autopack_site.wsgi:application",
            "--bind", bind, "--worker-class", "gthread",
            "--workers", str(web_workers), "--threads", str(web_threads),
            "--keep-alive", "75", "--graceful-timeout", "10", "--no-control-socket",
            "--logger-class", "autopack_site.web_logs.WebLogger",
        ],
    )  # fmt: skip
    workers = [
        Program(
            queue,
            [
                *celery, "worker", "--queues", queue, "--hostname", f"{queue}@%h", "--pool", "prefork",
                "--concurrency", str(concurrency[queue]), "--without-gossip", "--without-mingle",
                "--loglevel", "INFO",
            ],
            # TERM then means: finish what can be finished within the soft shutdown time, give back the rest.
            {"REMAP_SIGTERM": "SIGQUIT", "PYTHONWARNINGS": _WARNINGS},
        )
        for queue in QUEUES
    ]  # fmt: skip
    beat = Program("beat", [*celery, "beat", "--loglevel", "INFO", "--pidfile", ""])
    return [web, *workers, beat]


class _Running:
    """A program's present process, if it has one, and what is known of its past."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.pending = b""
        self.crashes: deque[float] = deque()
        self.start_at = 0.0


class Foreground:
    """Runs programs until a signal, or until one of them crashes again and again.

    INT, TERM and HUP stop all; a second one stops waiting and kills. Each program leads a process group of
    its own, and the whole group is killed when the leader is gone.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        stop_limit_s: float,
    ) -> None:
        self._running = [_Running(program) for program in programs]
        self._environment, self._cwd, self._stop_limit_s = dict(environment), cwd, stop_limit_s
        self._width = max(len(program.label) for program in programs)
        self._selector = selectors.DefaultSelector()
        self._signals = 0

    def run(self) -> int:
        """Run until told to stop; return the exit status: 0 after a signal, 1 after repeated crashes."""
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            status = self._serve()
            self.say("stopping; once more to kill" if status == 0 else "stopping all")
            self._stop(patience_signals=1 if status == 0 else 0)
            return status
        finally:
            self._kill_groups()
            self._selector.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def say(self, text: str) -> None:
        """Write a line of our own among the programs' lines."""
        self._write("up", text)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._signals += 1

    def _serve(self) -> int:
        while not self._signals:
            now = time.monotonic()
            for running in self._running:
                if running.process is None and now >= running.start_at:
                    self._start(running)
                elif self._has_ended(running) and not self._note_crash(running, now):
                    return 1
            self._pump(_TICK_S)
        return 0

    @staticmethod
    def _has_ended(running: _Running) -> bool:
        return running.process is not None and running.process.poll() is not None

    def _start(self, running: _Running) -> None:
        running.process = spawn(
            running.program.argv,
            env={**self._environment, **running.program.environment, "PYTHONUNBUFFERED": "1"},
            cwd=self._cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output = running.process.stdout
        assert output is not None
        fcntl.fcntl(output, fcntl.F_SETFL, os.O_NONBLOCK)
        self._selector.register(output, selectors.EVENT_READ, running)

    def _note_crash(self, running: _Running, now: float) -> bool:
        """Arrange the restart of a program that ended by itself; False when it did so too often."""
        assert running.process is not None
        status = running.process.returncode
        self._forget(running)
        running.crashes.append(now)
        while running.crashes[0] < now - _CRASHES_WINDOW_S:
            running.crashes.popleft()
        if len(running.crashes) > _CRASHES_ALLOWED:
            self.say(f"{running.program.label} ended {len(running.crashes)} times within a minute: giving up")
            return False
        delay_s = _RESTART_DELAY_S * len(running.crashes)
        running.start_at = now + delay_s
        self.say(f"{running.program.label} ended with status {status}; starting it again in {delay_s:.0f} s")
        return True

    def _forget(self, running: _Running) -> None:
        """Take leave of an ended process: its last words, and what is left of its group."""
        process = running.process
        assert process is not None
        assert process.stdout is not None
        self._kill_group(process)
        self._read(running)
        self._selector.unregister(process.stdout)
        process.stdout.close()
        if running.pending:
            self._write(running.program.label, running.pending.decode(errors="replace"))
        running.process, running.pending = None, b""

    def _stop(self, *, patience_signals: int) -> None:
        """Send TERM to all and wait; the limit, or more than `patience_signals` signals, end that."""
        deadline = time.monotonic() + self._stop_limit_s
        for running in self._running:
            if running.process is not None and running.process.poll() is None:
                running.process.terminate()
        while any(running.process for running in self._running):
            for running in self._running:
                if self._has_ended(running):
                    self._forget(running)
            if time.monotonic() > deadline or self._signals > patience_signals:
                self.say("not all ended in time: killing them")
                return
            self._pump(_TICK_S)
        self.say("all stopped")

    def _kill_groups(self) -> None:
        for running in self._running:
            if running.process is not None:
                self._kill_group(running.process)
                running.process.wait(_KILL_WAIT_S)

    @staticmethod
    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _pump(self, wait_s: float) -> None:
        """Copy output that is there, or wait a moment for some."""
        if not self._selector.get_map():
            time.sleep(wait_s)
            return
        for key, _events in self._selector.select(wait_s):
            if not self._read(key.data):
                # The stream's end comes before the process's; don't spin on it.
                time.sleep(_TICK_S / 10)

    def _read(self, running: _Running) -> bool:
        """Write out whole lines that have come; False at the end of the stream."""
        assert running.process is not None
        assert running.process.stdout is not None
        try:
            data = os.read(running.process.stdout.fileno(), _LINE_LIMIT_BYTES)
        except BlockingIOError:
            return True
        *lines, running.pending = (running.pending + data).split(b"\n")
        if len(running.pending) > _LINE_LIMIT_BYTES:
            lines, running.pending = [*lines, running.pending], b""
        for line in lines:
            self._write(running.program.label, line.decode(errors="replace"))
        return bool(data)

    def _write(self, label: str, text: str) -> None:
        """Print a labelled line; a closed terminal is no reason to stop."""
        try:
            print(f"{label:<{self._width}} | {text}", flush=True)
        except OSError:
            return
