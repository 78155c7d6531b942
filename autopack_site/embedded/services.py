"""One pair of servers for a state directory: started once, shared by later comers, ended with its owner."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autopack_site.children import Identity
from autopack_site.embedded import folders as places
from autopack_site.embedded import wheels
from autopack_site.embedded.accounts import service_account
from autopack_site.embedded.errors import ServiceNotOwned
from autopack_site.embedded.postgres import Postgres
from autopack_site.embedded.redis import Redis
from autopack_site.embedded.server import Server
from autopack_site.kernel import local_state

RECORD = "services.json"
_LOCK = "services.lock"
_OWNER = "owner.json"
PRIVATE_PREFIX = "private-"


@dataclass
class Services:
    """A running pair. A part that was not wanted is None."""

    postgres: Postgres | None
    redis: Redis | None

    @property
    def database_url(self) -> str | None:
        """What DATABASE_URL should be."""
        return self.postgres.url if self.postgres else None

    @property
    def redis_url(self) -> str | None:
        """What AUTOPACK_REDIS_URL should be."""
        return self.redis.url if self.redis else None

    @property
    def servers(self) -> list[Server]:
        """The parts that there are."""
        return [server for server in (self.postgres, self.redis) if server]

    def environment(self) -> dict[str, str]:
        """The variables that make a child process use this pair."""
        named = {"DATABASE_URL": self.database_url, "AUTOPACK_REDIS_URL": self.redis_url}
        return {key: value for key, value in named.items() if value}

    def stop(self) -> None:
        """Stop what we started; what another process owns is left alone. Safe to repeat."""
        for server in self.servers:
            if not server.adopted:
                with _locked(server.folders.state_dir):
                    server.stop()


def start(
    state_dir: Path, *, want_postgres: bool = True, want_redis: bool = True, is_durable: bool = True
) -> Services:
    """Start the wanted servers of `state_dir`, or join those that a live process runs there.

    Servers die with the process that started them. Those that a dead owner left are ended first. With
    `is_durable` off PostgreSQL survives the kill of any process, but not the loss of power. Raises
    EmbeddedUnavailable, UnsafeFolder or ServiceStartFailed, whose details say what to do.
    """
    account = service_account()
    folders = places.prepare(state_dir, account)
    with _locked(folders.state_dir):
        recorded = _read_record(folders.state_dir)
        programs = wheels.programs(folders.home, account)
        postgres = Postgres(folders, account, programs, is_durable=is_durable) if want_postgres else None
        redis = Redis(folders, account, programs, is_durable=is_durable) if want_redis else None
        services = Services(postgres, redis)
        try:
            for server in services.servers:
                server.on_change = _recorder(server)
                _join_or_start(server, recorded.get(server.name))
        except BaseException:
            for server in services.servers:
                if not server.adopted:
                    server.stop()
            raise
    return services


@contextmanager
def shared(state_dir: Path) -> Iterator[Services]:
    """Run the checkout's lasting pair, for those parts that no environment variable already names.

    While it runs `local.json` holds the addresses, so that commands in other terminals find it.
    """
    want_postgres, want_redis = not is_set("DATABASE_URL"), not is_set("AUTOPACK_REDIS_URL")
    if not (want_postgres or want_redis):
        yield Services(None, None)
        return
    services = start(state_dir, want_postgres=want_postgres, want_redis=want_redis)
    ours = {server.name for server in services.servers if not server.adopted}
    addresses = {
        "postgres": ("database_url", services.database_url),
        "redis": ("redis_url", services.redis_url),
    }
    mine = {key: value for name, (key, value) in addresses.items() if name in ours and value}
    try:
        _remember(state_dir, mine, forget=())
        yield services
    finally:
        _remember(state_dir, {}, forget=tuple(mine))
        services.stop()


def is_set(name: str) -> bool:
    """Tell whether the environment gives `name`, or a file that holds it, as env.py reads it."""
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


@contextmanager
def private(base: Path, *, want_postgres: bool = True, want_redis: bool = True) -> Iterator[Services]:
    """Run an extra pair in a fresh folder below `base`, not durable, and remove every trace at the end.

    Folders that killed processes left below `base` are removed first.
    """
    base.mkdir(parents=True, exist_ok=True)
    sweep(base)
    state_dir = Path(tempfile.mkdtemp(prefix=PRIVATE_PREFIX, dir=base))
    owner = Identity.of(os.getpid())
    assert owner is not None
    (state_dir / _OWNER).write_text(json.dumps(vars(owner)), encoding="utf-8")
    try:
        services = start(state_dir, want_postgres=want_postgres, want_redis=want_redis, is_durable=False)
        try:
            yield services
        finally:
            services.stop()
    finally:
        _remove(state_dir)


def sweep(base: Path) -> None:
    """Remove the private pairs below `base` whose owners are gone."""
    for state_dir in base.glob(f"{PRIVATE_PREFIX}*"):
        try:
            owner = Identity(**json.loads((state_dir / _OWNER).read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue  # just being made, or being removed, by somebody else
        except (OSError, ValueError, TypeError):
            owner = None
        if owner is None or not owner.is_alive():
            _end_strays(state_dir)
            _remove(state_dir)


def discard(state_dir: Path) -> None:
    """Delete the data of the servers of `state_dir` and of every private pair below it.

    Raises ServiceNotOwned while a live process runs them.
    """
    for name, (running, owner) in _read_record(state_dir).items():
        if running.is_alive() and owner.is_alive():
            raise ServiceNotOwned(f"{name} runs, started by process {owner.pid}: stop that one first")
    if state_dir.is_dir():
        sweep(state_dir)
        _end_strays(state_dir)
    places.remove(places.locate(state_dir, service_account()))


def _remove(state_dir: Path) -> None:
    places.remove(places.locate(state_dir, service_account()))
    shutil.rmtree(state_dir, ignore_errors=True)


def _join_or_start(server: Server, entry: tuple[Identity, Identity] | None) -> None:
    """Use the recorded server while it and its owner live; else end it and start our own."""
    if entry is not None:
        running, owner = entry
        if running.is_alive() and owner.is_alive() and server.answers():
            server.adopted = running
            return
        if running.is_alive() and not owner.is_alive():
            server.end_stray(running)
    server.start()


def _remember(state_dir: Path, values: dict[str, str], *, forget: tuple[str, ...]) -> None:
    with _locked(state_dir):
        kept = {key: value for key, value in local_state.read(state_dir).items() if key not in forget}
        local_state.write(state_dir, {**kept, **values})


def _end_strays(state_dir: Path) -> None:
    account = service_account()
    folders = places.locate(state_dir, account)
    recorded = _read_record(state_dir)
    for kind in (Postgres, Redis):
        if kind.name in recorded:
            kind(folders, account, None, is_durable=False).end_stray(recorded[kind.name][0])


def _recorder(server: Server) -> Callable[[], None]:
    """Return the call that writes down who runs, at each change."""

    def record() -> None:
        state_dir = server.folders.state_dir
        known = {name: [vars(part) for part in parts] for name, parts in _read_record(state_dir).items()}
        running, owner = server.identity, Identity.of(os.getpid())
        known.pop(server.name, None)
        if running and owner:
            known[server.name] = [vars(running), vars(owner)]
        temporary = state_dir / f".{RECORD}.{os.getpid()}"
        temporary.write_text(json.dumps(known, indent=2), encoding="utf-8")
        temporary.replace(state_dir / RECORD)

    return record


def _read_record(state_dir: Path) -> dict[str, tuple[Identity, Identity]]:
    """Return server name -> (server, owner); a missing or broken file is an empty record."""
    try:
        data = json.loads((state_dir / RECORD).read_text(encoding="utf-8"))
        return {name: (Identity(**parts[0]), Identity(**parts[1])) for name, parts in data.items()}
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return {}


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Let one process at a time start or stop servers of `state_dir`."""
    with (state_dir / _LOCK).open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
