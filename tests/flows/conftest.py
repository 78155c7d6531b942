"""Fixtures of the flow tests: a module's own stack, projects on real git repositories, waiting for endings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from tests.flows.stack import FAST, Stack, running
from tests.flows.world import World

# What the test process itself must see as the workers do.
SEEN_HERE = {
    "AUTOPACK_LEASE_TTL_S": ("LEASE_TTL_S", float),
    "AUTOPACK_LEASE_RENEW_S": ("LEASE_RENEW_S", float),
    "AUTOPACK_LEASE_LOST_S": ("LEASE_LOST_S", float),
    "AUTOPACK_OUTBOX_RESEND_S": ("OUTBOX_RESEND_S", float),
    "AUTOPACK_GATE_BACKOFF_S": ("GATE_BACKOFF_S", float),
    "AUTOPACK_CLAIM_DEADLINE_S": ("CLAIM_DEADLINE_S", float),
}


def database_url(name: str) -> str:
    """Return the address of a database of this test process's server."""
    database = {key: str(value) for key, value in connection.settings_dict.items()}
    login = database["USER"] + (f":{quote(database['PASSWORD'], safe='')}" if database["PASSWORD"] else "")
    port = f":{database['PORT']}" if database["PORT"] else ""
    return f"postgresql://{login}@{quote(database['HOST'], safe='')}{port}/{name}"


@pytest.fixture(scope="module")
def module_env() -> dict[str, str]:
    """What a module adds to the stack's environment; modules override this fixture."""
    return {}


@pytest.fixture(scope="session")
def flow_database(migrated: str, django_db_blocker: Any) -> Iterator[str]:
    """A database of the flow tests' own, so that no other test's rollback or truncation meets their workers."""
    name = f"test_flows_{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}"
    with django_db_blocker.unblock():
        _admin(
            f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
            f'CREATE DATABASE "{name}" TEMPLATE "{migrated}"',
        )
        yield name
        _admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _admin(*statements: str) -> None:
    with connection._nodb_cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def _using(name: str) -> Iterator[None]:
    """Point this process's connection at another database for the block."""
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    ContentType.objects.clear_cache()  # its ids are the database's
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
        ContentType.objects.clear_cache()


@pytest.fixture(scope="module")
def stack(flow_database: str, django_db_blocker: Any, module_env: dict[str, str]) -> Iterator[Stack]:
    """The module's stack: committed rows, a folder of its own; emptied when the module ends.

    Starts no process: the module's tests do, or its `workers` fixture.
    """
    folder = Path(tempfile.mkdtemp(prefix="autopack-flow-"))
    extra = {**FAST, **module_env}
    environment = {
        **os.environ,
        **extra,
        "DATABASE_URL": database_url(flow_database),
        "AUTOPACK_REDIS_URL": settings.REDIS_URL,
        "AUTOPACK_STATE_DIR": str(folder / "state"),
        "AUTOPACK_RUNS_DIR": str(folder / "runs"),
        "DJANGO_SETTINGS_MODULE": "autopack_site.settings",
    }
    seen = {name: kind(extra[key]) for key, (name, kind) in SEEN_HERE.items() if key in extra}
    with ExitStack() as exits:
        exits.callback(shutil.rmtree, folder, ignore_errors=True)
        exits.enter_context(django_db_blocker.unblock())
        exits.enter_context(_using(flow_database))
        exits.enter_context(override_settings(STATE_DIR=folder / "state", RUNS_DIR=folder / "runs", **seen))
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            client.flushdb()
        exits.callback(_empty)
        yield from running(environment, folder / "log")


def _empty() -> None:
    call_command("flush", verbosity=0, interactive=False)
    connection.close()


@pytest.fixture
def world(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """One test's project on a repository of its own; tells the logs when the test fails."""
    made = World(stack, tmp_path, name=request.node.name)
    yield made
    report = getattr(request.node, "failed_call", False)
    if report:
        print(stack.logs())
    connection.close()


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remember whether the test's body failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.failed_call = report.failed  # type: ignore[attr-defined]
