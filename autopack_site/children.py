"""Child processes that never outlive this one, and the identity of processes beyond their number.

The kernel's parent-death signal is tied to the *thread* that forked, so all children are forked by one
thread that lives as long as the process: services may be restarted from short-lived threads without harm.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Identity:
    """A process beyond doubt: a number is used again, but not with the same start in the same boot."""

    pid: int
    started_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of the live process `pid`, or None if there is none (a zombie is none)."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), boot_id)

    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return Identity.of(self.pid) == self


class _Spawner:
    """One daemon thread a process that makes every child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner_pid = 0
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]] = queue.SimpleQueue()

    def call(self, function: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._lock:
            if self._owner_pid != os.getpid():  # first use, or we are a fork that has no such thread
                self._calls = queue.SimpleQueue()
                self._owner_pid = os.getpid()
                threading.Thread(target=self._serve, args=(self._calls,), daemon=True, name="spawner").start()
            self._calls.put((function, answer))
        result = answer.get()
        if isinstance(result, BaseException):
            raise result
        process: subprocess.Popen[bytes] = result
        return process

    @staticmethod
    def _serve(calls: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]]) -> None:
        while True:
            function, answer = calls.get()
            try:
                answer.put(function())
            except BaseException as error:
                answer.put(error)


_spawner = _Spawner()


def spawn(
    argv: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGTERM,
    uid: int = -1,
    gid: int = -1,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    new_session: bool = True,
) -> subprocess.Popen[bytes]:
    """Start argv as a child that receives `death_signal` when this process dies, however it dies.

    `uid` and `gid` are taken on before the program starts (root only; -1 changes nothing). `env` replaces the
    environment. A program that can't be executed ends with status 126 and says why on stderr.
    """
    command = [
        sys.executable, "-I", "-S", str(LAUNCHER),
        str(os.getpid()), str(int(death_signal)), str(uid), str(gid), *argv,
    ]  # fmt: skip
    return _spawner.call(
        lambda: subprocess.Popen(
            command,
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=new_session,
        )
    )


def end_stray(identity: Identity, *, signals: Sequence[signal.Signals], wait_s: float) -> None:
    """End a process that is not our child by each signal in turn, waiting `wait_s` for it after each.

    The process is held by descriptor, so a number that is used again meanwhile is never hit.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return
    try:
        if not identity.is_alive():
            return
        watcher = _readable(descriptor)
        for number in signals:
            try:
                signal.pidfd_send_signal(descriptor, number)
                signal.pidfd_send_signal(descriptor, signal.SIGCONT)
            except ProcessLookupError:
                return
            if watcher(wait_s):
                return
    finally:
        os.close(descriptor)


def _readable(descriptor: int) -> Callable[[float], bool]:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return lambda seconds: bool(poller.poll(seconds * 1000))
