"""An embedded Redis on a unix socket, no TCP. It carries hints only (ENGINE), so it keeps nothing on disk."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import ClassVar

import redis

from autopack_site.embedded.folders import REDIS_SOCKET
from autopack_site.embedded.server import Server

# Each test worker takes a database of its own.
DATABASES = 64


class Redis(Server):
    """The broker. Its socket's folder is closed to everybody but its account, so it asks no password."""

    name: ClassVar[str] = "redis"
    stop_signals: ClassVar[dict[str, signal.Signals]] = {"fast": signal.SIGTERM, "kill": signal.SIGKILL}
    death_signal: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def url(self) -> str:
        """The address as redis-py takes it; `autopack_site.redis_urls` turns it into Celery's form."""
        return f"unix://{self.folders.sockets / REDIS_SOCKET}?db=0"

    def argv(self) -> Sequence[str]:
        """The server in the foreground."""
        return [
            str(self.programs.redis_server),
            "--port", "0",
            "--unixsocket", str(self.folders.sockets / REDIS_SOCKET),
            "--unixsocketperm", "700",
            "--dir", str(self.folders.redis),
            "--databases", str(DATABASES),
            "--save", "",
            "--appendonly", "no",
            "--daemonize", "no",
        ]  # fmt: skip

    def answers(self) -> bool:
        """Tell whether it answers a ping."""
        client = redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def before_start(self) -> None:
        """Remove the socket of a killed predecessor."""
        (self.folders.sockets / REDIS_SOCKET).unlink(missing_ok=True)
