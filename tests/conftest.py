"""What every test stands on: real PostgreSQL and Redis, and no way out of this machine.

`make test` runs pytest beside throw-away servers; by hand:
`.venv/bin/python manage.py services --private -- .venv/bin/pytest`. Sockets are blocked by pytest-socket but
for loopback and unix ones (pyproject.toml).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from autopack_site import garbage
from autopack_site.redis_urls import broker_url, with_database

REAL_DATABASE = "django.db.backends.postgresql"
# Database 0 is left to whoever uses the same Redis without thinking.
_FIRST_REDIS_DATABASE = 1


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a database that is not PostgreSQL, and give each test process its own Redis database."""
    if settings.DATABASES["default"]["ENGINE"] != REAL_DATABASE:
        raise pytest.UsageError("the tests need PostgreSQL: run them through `make test`")
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a missing one
    # Threads of the code under test that outlive a request must not hold the test database open.
    settings.DATABASES["default"]["CONN_MAX_AGE"] = 0
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    url = with_database(settings.REDIS_URL, _FIRST_REDIS_DATABASE + int(worker.removeprefix("gw")))
    settings.REDIS_URL = url
    settings.CELERY_BROKER_URL = broker_url(url)


#: Files that wait more than they work, longest first. They begin first, beside those that keep a core busy: begun
#: last they would end alone.
LONG_FILES = (
    "tests/flows/test_crash_lines.py",
    "tests/flows/test_zombies.py",
    "tests/issues/test_concurrency.py",
    "tests/flows/browser/test_desk_pages.py",
    "tests/flows/browser/test_board_pages.py",
    "tests/flows/test_kills.py",
    "tests/site/test_up.py",
    "tests/site/test_demo.py",
    "tests/flows/",
    "tests/site/",
)


def pytest_collection_finish() -> None:
    """Spare the tests what Python would look for in five thousand of them again and again."""
    garbage.keep_what_is_loaded()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; all else stays in its order. Test processes must agree on it."""

    def place(item: pytest.Item) -> int:
        found = (n for n, name in enumerate(LONG_FILES) if item.nodeid.startswith(name))
        return next(found, len(LONG_FILES))

    items.sort(key=place)


@pytest.fixture(scope="session")
def migrated(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of a database that is migrated and empty, to be the TEMPLATE of others: nobody connects to it.

    A copy takes a tenth of a second, the migrations several.
    """
    own = connection.settings_dict["NAME"]
    name = f"{own}_empty_{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}"
    with django_db_blocker.unblock():
        is_migrated = "runs_run" in connection.introspection.table_names()
        connection.close()
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')
            cursor.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{own}"' if is_migrated else ""))
        if not is_migrated:  # pytest-django migrates its own only where a chosen test is marked for it
            connection.settings_dict["NAME"] = name
            call_command("migrate", verbosity=0, interactive=False)
            connection.close()
            connection.settings_dict["NAME"] = own
    yield name
    with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


@pytest.fixture
def redis_url() -> Iterator[str]:
    """The address of a Redis database that is this test process's own, and empty."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    yield settings.REDIS_URL
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()


@pytest.fixture
def child_environment(transactional_db: None, redis_url: str) -> dict[str, str]:
    """The environment in which a separate process uses this test's database and Redis."""
    database = {key: str(value) for key, value in settings.DATABASES["default"].items()}
    login = database["USER"] + (f":{quote(database['PASSWORD'], safe='')}" if database["PASSWORD"] else "")
    port = f":{database['PORT']}" if database["PORT"] else ""
    url = f"postgresql://{login}@{quote(database['HOST'], safe='')}{port}/{quote(database['NAME'], safe='')}"
    return {**os.environ, "DATABASE_URL": url, "AUTOPACK_REDIS_URL": redis_url}
