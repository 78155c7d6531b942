"""An embedded PostgreSQL 18: one private cluster on a unix socket, no TCP at all."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psycopg2

from autopack_site.children import Identity
from autopack_site.embedded.accounts import run_as
from autopack_site.embedded.errors import ServiceStartFailed
from autopack_site.embedded.folders import POSTGRES_SOCKET, private
from autopack_site.embedded.server import Server

MAJOR_VERSION = "18"
USER = DATABASE = "autopack"
_INITDB_LIMIT_S = 120
_SMALL_FILE_BYTES = 4096


class Postgres(Server):
    """The cluster's server. Its socket's folder is closed to all but its account, so it asks no password."""

    name: ClassVar[str] = "postgres"
    stop_signals: ClassVar[dict[str, signal.Signals]] = {
        "fast": signal.SIGINT,
        "smart": signal.SIGTERM,
        "immediate": signal.SIGQUIT,
    }
    death_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    @property
    def url(self) -> str:
        """The address as Django and libpq take it: the socket's folder, quoted, in the host's place."""
        return f"postgresql://{USER}@{quote(str(self.folders.sockets), safe='')}/{DATABASE}"

    def argv(self) -> Sequence[str]:
        """The postmaster in the foreground. fsync off is still safe when processes are killed."""
        options = {
            "listen_addresses": "",
            "port": POSTGRES_SOCKET.rpartition(".")[2],
            "unix_socket_directories": str(self.folders.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "log_min_messages": "warning",
            "timezone": "UTC",
            "huge_pages": "off",
        }
        if not self.is_durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [str(self.programs.postgres), "-D", str(self.folders.data), *settings]

    def answers(self) -> bool:
        """Tell whether a session can be opened."""
        try:
            with closing(self._connect()):
                return True
        except psycopg2.OperationalError:
            return False

    def before_start(self) -> None:
        """Make the cluster at the first start; remove lock files that name a process that is not a server."""
        version = _read_small(self.folders.data / "PG_VERSION")
        if version is None:
            self._initialise()
        elif version.strip() != MAJOR_VERSION:
            raise ServiceStartFailed(
                f"{self.folders.data} was made by PostgreSQL {version.strip()}, and this is {MAJOR_VERSION}: "
                "dump it with the older one, or remove it (`make clean`) to start afresh"
            )
        self._remove_stale_locks()

    def after_start(self) -> None:
        """Create the database that the URL names."""
        with closing(self._connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host=str(self.folders.sockets), port=5432, user=USER, dbname="postgres", connect_timeout=5
        )

    def _initialise(self) -> None:
        """Run initdb beside the cluster's place, then rename: an interrupted one is no cluster."""
        unfinished = self.folders.home / "pgdata.new"
        for leftover in (unfinished, self.folders.data):
            if leftover.exists():
                shutil.rmtree(leftover)
        private(unfinished, account=self.account)
        argv = [
            str(self.programs.initdb), "--pgdata", str(unfinished), "--username", USER, "--encoding", "UTF8",
            "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8",
            "--auth-local", "trust", "--auth-host", "reject", "--no-instructions",
        ]  # fmt: skip
        if not self.is_durable:
            argv.append("--no-sync")
        done = run_as(self.account, argv, cwd=self.folders.home, limit_s=_INITDB_LIMIT_S)
        if done.returncode != 0:
            raise ServiceStartFailed(
                f"PostgreSQL's initdb failed: {done.stderr.decode(errors='replace').strip()[-2000:]}"
            )
        unfinished.rename(self.folders.data)

    def _remove_stale_locks(self) -> None:
        """Forget a predecessor that was killed.

        PostgreSQL trusts any live process of its own account that has the recorded number; in a container the
        numbers start over at each boot, so that it would refuse to start for no reason.
        """
        lock = self.folders.data / "postmaster.pid"
        recorded = (_read_small(lock) or "").partition("\n")[0].strip()
        if recorded.isdigit():
            if self._is_server(int(recorded)):
                stray = Identity.of(int(recorded))
                if stray:
                    self.end_stray(stray)
            lock.unlink(missing_ok=True)
        for name in (POSTGRES_SOCKET, f"{POSTGRES_SOCKET}.lock"):
            (self.folders.sockets / name).unlink(missing_ok=True)

    def _is_server(self, pid: int) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.folders.data) in command


def _read_small(path: Path) -> str | None:
    """Return a small file's text, None when absent. The account owns the folder: no link is followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as handle:
        return handle.read(_SMALL_FILE_BYTES).decode(errors="replace")
