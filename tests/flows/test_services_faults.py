"""PostgreSQL and Redis fail under a run at work, on a pair of servers that is this module's own.

What is assumed of production: something restarts a worker or beat that has ended (`Supervised` does here), and
PostgreSQL and Redis come back. Nothing else: no message, connection or clock is relied on.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, connection
from django.test import override_settings

from autopack_site import embedded
from autopack_site.embedded import Services
from runs.models import Run, Transition
from tests.flows.conftest import SEEN_HERE, _using
from tests.flows.record import record
from tests.flows.soundness import assert_sound
from tests.flows.stack import FAST, Stack, eventually, running
from tests.flows.supervision import Supervised
from tests.flows.test_kills import start_long_run
from tests.flows.world import World

pytestmark = [pytest.mark.real, pytest.mark.faults]
PHASES = 6
LONG = 20


@pytest.fixture(scope="module")
def pair(django_db_setup: None) -> Iterator[Services]:
    """Servers that nobody else uses, so that they may be stopped."""
    with embedded.private(settings.STATE_DIR) as services:
        yield services


@pytest.fixture(scope="module")
def flow_database(pair: Services, django_db_blocker: Any) -> Iterator[str]:
    """The pair's own database, in the place of the test server's."""
    assert pair.postgres is not None
    mine = {"HOST": str(pair.postgres.folders.sockets), "PORT": "5432", "USER": "autopack", "PASSWORD": ""}
    before = {key: connection.settings_dict[key] for key in mine}
    with django_db_blocker.unblock():
        connection.close()
        connection.settings_dict.update(mine)
        try:
            with _using("autopack"):
                call_command("migrate", verbosity=0, interactive=False)
                yield "autopack"
        finally:
            connection.close()
            connection.settings_dict.update(before)


@pytest.fixture(scope="module")
def stack(flow_database: str, pair: Services) -> Iterator[Stack]:
    """A stack on the pair."""
    folder = Path(tempfile.mkdtemp(prefix="autopack-flow-"))
    environment = {
        **os.environ,
        **FAST,
        **pair.environment(),
        "AUTOPACK_STATE_DIR": str(folder / "state"),
        "AUTOPACK_RUNS_DIR": str(folder / "runs"),
        "DJANGO_SETTINGS_MODULE": "autopack_site.settings",
    }
    seen = {name: kind(FAST[key]) for key, (name, kind) in SEEN_HERE.items() if key in FAST}
    with ExitStack() as exits:
        exits.callback(shutil.rmtree, folder, ignore_errors=True)
        exits.enter_context(override_settings(STATE_DIR=folder / "state", RUNS_DIR=folder / "runs", **seen))
        yield from running(environment, folder / "log")


@pytest.fixture(scope="module")
def supervised(stack: Stack) -> Supervised:
    return Supervised(stack, workers=1, concurrency=3)


def surviving(check: Callable[[], object]) -> Callable[[], object]:
    """Return a check that is simply not true while the database is away."""

    def look() -> object:
        try:
            return check()
        except (DatabaseError, InterfaceError):
            connection.close()
            return None

    return look


def events(run: Run) -> int:
    return Transition.objects.filter(run=run).count()


def under_fault(
    world: World, supervised: Supervised, fault: Callable[[], None], *, times: int = 1, phases: int = PHASES
) -> Run:
    """Run a plan, and have the fault happen in its midst, several times; assert that all came out right."""
    run = start_long_run(world, phases)
    for number in range(times):
        share = 4 + number * 8 * phases / times
        eventually(
            supervised.until(surviving(lambda share=share: events(run) >= share)),  # type: ignore[misc]
            timeout_s=180,
            what="the run does not get on",
        )
        fault()
    before = time.monotonic()
    eventually(
        supervised.until(surviving(lambda: Run.objects.get(pk=run.pk).is_terminal)), timeout_s=240,
        what=f"the run does not end after the fault:\n{world.history(run)[-3000:]}",
    )  # fmt: skip
    print(f"ended {time.monotonic() - before:.1f} s after the fault, {supervised.restarts} restarts")
    assert_sound(world, run)
    assert run.phases.filter(state="COMPLETE").count() == phases
    return run


def flush(pair: Services) -> None:
    assert pair.redis_url is not None
    with redis.Redis.from_url(pair.redis_url) as client:
        client.flushall()


def stop_redis(pair: Services, seconds: float) -> None:
    assert pair.redis is not None
    pair.redis.stop("kill")
    time.sleep(seconds)  # the length of the outage is the fault itself
    pair.redis.start()


def freeze_redis(pair: Services, seconds: float) -> None:
    assert pair.redis is not None
    assert pair.redis.pid is not None
    os.kill(pair.redis.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pair.redis.pid, signal.SIGCONT)


def restart_postgres(pair: Services) -> None:
    assert pair.postgres is not None
    pair.postgres.restart("immediate")
    connection.close()


def test_redis_flushed_in_mid_run(world: World, supervised: Supervised, pair: Services) -> None:
    under_fault(world, supervised, lambda: flush(pair), times=3)


def test_redis_stopped_for_a_while(world: World, supervised: Supervised, pair: Services) -> None:
    under_fault(world, supervised, lambda: stop_redis(pair, 5))


def test_redis_half_open(world: World, supervised: Supervised, pair: Services) -> None:
    """It takes connections and bytes, and answers nothing: longer than the ten seconds that a call may take."""
    under_fault(world, supervised, lambda: freeze_redis(pair, 12))


def test_postgresql_restarted_immediately(world: World, supervised: Supervised, pair: Services) -> None:
    under_fault(world, supervised, lambda: restart_postgres(pair), times=2)


@pytest.mark.torture
@pytest.mark.parametrize(
    ("scenario", "fault", "times"),
    [
        ("Redis flushed", flush, 20),
        ("Redis stopped for 60 s", lambda pair: stop_redis(pair, 60), 2),
        ("Redis half-open (SIGSTOP) for 30 s", lambda pair: freeze_redis(pair, 30), 2),
        ("PostgreSQL restarted with -m immediate", restart_postgres, 20),
    ],
    ids=["flush", "stop", "freeze", "postgres"],
)
def test_services_fail_again_and_again(
    world: World,
    supervised: Supervised,
    pair: Services,
    scenario: str,
    fault: Callable[[Services], None],
    times: int,
) -> None:
    run = under_fault(world, supervised, lambda: fault(pair), times=times, phases=LONG)
    record(scenario, world, run, injected=times)
