"""One served instance for all tests of the contract, on a database and a Redis database of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from autopack_site.redis_urls import with_database
from tests.contract.served import Api, Served, serve, until

# Beside the databases that the test processes take for themselves: workers here serve no other test's messages.
_FIRST_REDIS_DATABASE = 9
_numbers = itertools.count(1)


# Of the session, not of the package: a test process has files of other folders between these.
@pytest.fixture(scope="session")
def served(migrated: str, django_db_blocker: Any) -> Iterator[Served]:
    """The instance."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    name = f"test_contract_{worker}"
    folder = Path(tempfile.mkdtemp(prefix="autopack-contract-"))
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    environment = {
        "DATABASE_URL": _database_url(name),
        "AUTOPACK_REDIS_URL": with_database(
            settings.REDIS_URL, _FIRST_REDIS_DATABASE + int(worker.removeprefix("gw"))
        ),
    }
    try:
        _admin(django_db_blocker, drop, f'CREATE DATABASE "{name}" TEMPLATE "{migrated}"')

        def manage(*argv: str) -> str:
            out = StringIO()
            with django_db_blocker.unblock(), _using(name):
                call_command(*argv, stdout=out, stderr=out)
            return out.getvalue()

        with serve(folder, environment, manage) as made:
            yield made
    finally:
        _admin(django_db_blocker, drop)
        shutil.rmtree(folder, ignore_errors=True)


def _admin(blocker: Any, *statements: str) -> None:
    with blocker.unblock(), connection._nodb_cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def _using(name: str) -> Iterator[None]:
    """Point this process's connection at another database for the block."""
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def _database_url(name: str) -> str:
    server = {key: str(value) for key, value in settings.DATABASES["default"].items()}
    login = server["USER"] + (f":{quote(server['PASSWORD'], safe='')}" if server["PASSWORD"] else "")
    port = f":{server['PORT']}" if server["PORT"] else ""
    return f"postgresql://{login}@{quote(server['HOST'], safe='')}{port}/{name}"


@pytest.fixture
def operator(served: Served) -> Api:
    return served["operator"]


@pytest.fixture
def builder(served: Served) -> Api:
    return served["builder"]


@pytest.fixture
def auditor(served: Served) -> Api:
    return served["auditor"]


@pytest.fixture
def reader(served: Served) -> Api:
    return served["reader"]


@pytest.fixture
def fresh_id() -> str:
    """A run id that no test has used."""
    return f"run-{next(_numbers)}"


@pytest.fixture
def started(operator: Api, fresh_id: str) -> str:
    """The id of a run that was just started: one tier, two phases of category docs."""
    answer = operator.post("/runs/start", plan(fresh_id, project="noisy"))
    assert answer.status == 201, answer.raw
    return fresh_id


@pytest.fixture
def ready(operator: Api, started: str) -> Iterator[str]:
    """The id of a run whose first phase may be claimed; it is cancelled at the end."""
    yield wait_for(operator, started, lambda run: run["state"] not in ("PLAN_BOOTSTRAP", "RUN_CREATED"))["id"]
    operator.post(f"/runs/{started}/cancel", {})


def plan(run_id: str, *, phases: int = 2, project: str | None = "quiet", **run: Any) -> dict[str, Any]:
    """Return a start request of one tier, with required fields and a category alone."""
    return {
        **({} if project is None else {"project_id": project}),
        "run": {"run_id": run_id, **run},
        "tiers": [{"tier_id": "t1", "tier_index": 0, "name": "Tier"}],
        "phases": [
            {
                "phase_id": f"p{n}",
                "phase_index": n,
                "tier_id": "t1",
                "name": f"Phase {n}",
                "task_category": "docs",
            }
            for n in range(1, phases + 1)
        ],
    }


def wait_for(api: Api, run_id: str, check: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the run as soon as check says so."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = api.get(f"/runs/{run_id}").body
        return run if check(run) else None

    found: dict[str, Any] = until(look, f"run {run_id}")
    return found


def new_file(name: str, text: str = "text") -> str:
    """Return a patch that adds a file."""
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}\n"
