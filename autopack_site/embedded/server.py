"""One server as a child process: start, stop, restart, and the log it leaves."""

from __future__ import annotations

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from autopack_site.children import Identity, end_stray, spawn
from autopack_site.embedded.accounts import Account, bare_environment
from autopack_site.embedded.errors import ServiceNotOwned, ServiceStartFailed
from autopack_site.embedded.folders import Folders
from autopack_site.embedded.wheels import Programs

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
_POLL_S = 0.02
_LOG_LIMIT_BYTES = 10 * 1024 * 1024


class Server(ABC):
    """A server of one pair. It dies with the process that started it, however that process dies.

    Tests break it on purpose: `pid` takes any signal (SIGSTOP, SIGKILL), `stop` and `start` repeat at will at
    the same address. `adopted` is the identity of a server that another live process owns; such a one can be
    used but not stopped.
    """

    name: ClassVar[str]
    # What `stop(mode)` sends; the first mode is the default.
    stop_signals: ClassVar[dict[str, signal.Signals]]
    # Sent by the kernel when our process dies, and to a stray that a dead owner has left.
    death_signal: ClassVar[signal.Signals]

    def __init__(
        self, folders: Folders, account: Account, programs: Programs | None, *, is_durable: bool
    ) -> None:
        self.folders, self.account, self.is_durable = folders, account, is_durable
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self.adopted: Identity | None = None
        self.on_change: Callable[[], None] = lambda: None

    # What each kind of server knows about itself.
    @property
    @abstractmethod
    def url(self) -> str:
        """The address that clients use."""

    @abstractmethod
    def argv(self) -> Sequence[str]:
        """The command line that runs it in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it takes a connection and answers now."""

    def before_start(self) -> None:  # noqa: B027 - a kind may need nothing
        """Make what it needs on disk and remove what a killed predecessor left."""

    def after_start(self) -> None:  # noqa: B027 - a kind may need nothing
        """Finish what needs a running server."""

    @property
    def programs(self) -> Programs:
        """The programs it is made of."""
        if self._programs is None:
            raise ServiceNotOwned(f"{self.name} was started by another process")
        return self._programs

    @property
    def pid(self) -> int | None:
        """The number of the running server process, or None."""
        if self.adopted:
            return self.adopted.pid if self.adopted.is_alive() else None
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def identity(self) -> Identity | None:
        """The running process beyond doubt, or None."""
        return self.adopted or (Identity.of(self.pid) if self.pid else None)

    @property
    def log_path(self) -> Path:
        """Where its output goes, over restarts."""
        return self.folders.logs / f"{self.name}.log"

    def start(self) -> None:
        """Start it and return once it answers. Nothing happens when it runs already.

        Raises ServiceStartFailed, with the end of the log, when it does not answer within a minute.
        """
        if self.pid is not None:
            return
        if self.adopted:
            raise ServiceNotOwned(f"{self.name} was started by another process, which has stopped it")
        self.before_start()
        mode = "wb" if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT_BYTES else "ab"
        with self.log_path.open(mode) as log:
            self._process = spawn(
                self.argv(),
                death_signal=self.death_signal,
                uid=self.account.uid if self.account.is_other else -1,
                gid=self.account.gid if self.account.is_other else -1,
                env=bare_environment(),
                cwd=Path("/"),
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_it_answers()
            self.after_start()
        except BaseException:
            self.stop(mode=next(reversed(self.stop_signals)))
            raise
        self.on_change()

    def stop(self, mode: str | None = None, *, limit_s: float = STOP_LIMIT_S) -> None:
        """Stop it by `mode` and wait; what does not go within `limit_s` seconds is killed. Safe to repeat.

        Raises ServiceNotOwned for an adopted server.
        """
        if self.adopted:
            raise ServiceNotOwned(f"{self.name} was started by another process; stop that one")
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(self.stop_signals[mode or next(iter(self.stop_signals))])
            process.send_signal(signal.SIGCONT)  # a frozen one can't hear
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = None
        self.on_change()

    def restart(self, mode: str | None = None) -> None:
        """Stop it by `mode` and start it again at the same address."""
        self.stop(mode)
        self.start()

    def end_stray(self, identity: Identity) -> None:
        """End a server that was left running by an owner that is gone."""
        end_stray(identity, signals=[self.death_signal, signal.SIGKILL], wait_s=10.0)

    def log_tail(self) -> str:
        """The last two thousand characters of the log."""
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace")[-2000:]
        except OSError:
            return ""

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_LIMIT_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServiceStartFailed(f"{self.name} did not start. The end of its log:\n{self.log_tail()}")
            time.sleep(_POLL_S)
