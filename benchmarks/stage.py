"""What the benchmarks stand on: a database and folders of their own, one project, and real processes.

`stage()` must run before Django reads its settings: it points DATABASE_URL, Redis and the folders at places
that are made for the benchmarks and gone afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import redis

from autopack_site.children import spawn
from autopack_site.redis_urls import with_database

ROOT = Path(__file__).resolve().parent.parent
REDIS_DATABASE = 11
COPY = "_floor"
HOW = "run `make bench`, or `python manage.py services --private -- python -m benchmarks`"


class NotReady(RuntimeError):
    """What the benchmarks need is not there; the message says what to do."""


@contextmanager
def stage() -> Iterator[Path]:
    """Make the database and the folders, set the environment, set Django up; yield the folder. Undo it all after."""
    missing = [name for name in ("DATABASE_URL", "AUTOPACK_REDIS_URL") if not os.environ.get(name)]
    if missing:
        raise NotReady(f"{' and '.join(missing)} not set: {HOW}")
    server = os.environ["DATABASE_URL"]
    name = f"autopack_bench_{os.getpid()}"
    folder = Path(tempfile.mkdtemp(prefix="autopack-bench-"))
    _admin(server, f'CREATE DATABASE "{name}"')
    try:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "autopack_site.settings",
            "DATABASE_URL": urlunsplit(urlsplit(server)._replace(path=f"/{name}")),
            "AUTOPACK_REDIS_URL": with_database(os.environ["AUTOPACK_REDIS_URL"], REDIS_DATABASE),
            "AUTOPACK_STATE_DIR": str(folder / "state"),
            "AUTOPACK_RUNS_DIR": str(folder / "runs"),
            "AUTOPACK_LOG_LEVEL": "WARNING",
        }
        (folder / "state" / "static").mkdir(parents=True)
        with redis.Redis.from_url(os.environ["AUTOPACK_REDIS_URL"]) as client:
            client.flushdb()  # messages of an earlier benchmark are about rows that are gone
        _django()
        yield folder
    finally:
        for one in (f"{name}{COPY}", name):
            _admin(server, f'DROP DATABASE IF EXISTS "{one}" WITH (FORCE)')
        shutil.rmtree(folder, ignore_errors=True)


def copy_database() -> str:
    """Make the floor's own copy of the benchmarks' database, beside it in the same server; return its address.

    Nobody may be connected to the database: call it before processes start.
    """
    from django.db import connections

    connections.close_all()
    parts = urlsplit(os.environ["DATABASE_URL"])
    name = parts.path.removeprefix("/")
    server = urlunsplit(parts._replace(path="/postgres"))
    _admin(server, f'CREATE DATABASE "{name}{COPY}" TEMPLATE "{name}"')
    return urlunsplit(parts._replace(path=f"/{name}{COPY}"))


def _admin(server: str, statement: str) -> None:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def _django() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, interactive=False)


def make_repository(folder: Path, files: int) -> Path:
    """Make a git repository of `files` small modules in folders of twenty; return its path."""
    folder.mkdir(parents=True)
    for number in range(files):
        path = folder / f"package_{number // 20:03}" / f"module_{number:05}.py"
        path.parent.mkdir(exist_ok=True)
        lines = (f"def function_{line}():\n    return {number + line}\n" for line in range(40))
        path.write_text("".join(lines))
    for args in (
        ("init", "-q", "-b", "main"),
        ("add", "."),
        ("-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "base"),
    ):
        subprocess.run(["git", *args], cwd=folder, check=True)
    return folder


@contextmanager
def processes(folder: Path, programs: Sequence[tuple[str, Sequence[str]]]) -> Iterator[None]:
    """Run programs (label, argv) beside the block, each with a log file in folder; end them with it."""
    folder.mkdir(parents=True, exist_ok=True)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for label, argv in programs:
            with (folder / f"{label}.log").open("wb") as out:
                env = {
                    **os.environ,
                    "PYTHONWARNINGS": "ignore",
                    "AUTOPACK_SOFT_SHUTDOWN_S": "1",
                    # no throttle: what can be served is measured, not what one client may ask for
                    "AUTOPACK_TOKEN_REQUESTS_PER_MINUTE": "0",
                    "AUTOPACK_ADDRESS_REQUESTS_PER_MINUTE": "0",
                }
                started.append(spawn(argv, env=env, cwd=ROOT, stdout=out, stderr=out))
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def wait_until(check: Callable[[], object], *, limit_s: float, what: str) -> None:
    """Wait until check returns something true; raise NotReady with `what` after limit_s seconds."""
    deadline = time.monotonic() + limit_s
    while not check():
        if time.monotonic() > deadline:
            raise NotReady(f"not within {limit_s:g} s: {what}")
        time.sleep(0.05)


def python(*args: str) -> list[str]:
    """Return the argv of this Python with arguments."""
    return [sys.executable, *args]
