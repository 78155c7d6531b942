"""A backup taken in the midst of runs, restored into an empty system, where the runs go on to their ends."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

from autopack_site.backup.errors import RestoreRefused
from autopack_site.backup.restore import restore
from integration.artefacts import service as artefacts
from integration.refs import branch_ref
from integration.repository import mirror_of
from runs.models import Attempt, Run
from strategy.models import Project
from tests.flows.conftest import _admin, _using, database_url
from tests.flows.soundness import assert_sound
from tests.flows.stack import Stack, eventually, running
from tests.flows.world import PYTHON, World

pytestmark = pytest.mark.real
GREEN = [{"name": "unit", "argv": [PYTHON, "-c", "pass"]}]
# Its work differs each time: what was built after the backup can't come out the same once more.
NEVER_THE_SAME = """
import uuid
pathlib.Path(f"{phase}.txt").write_text(uuid.uuid4().hex)
answer(status="success", tokens_used=10)
"""


@pytest.fixture
def empty_system(stack: Stack, flow_database: str, tmp_path: Path) -> Iterator[Any]:
    """Enter it to be in a system with an empty database and empty folders; it gives that system's stack."""
    name = f"{flow_database}_restored"
    folder = tmp_path / "restored"
    environment = {
        **stack.environment, "DATABASE_URL": database_url(name), "AUTOPACK_STATE_DIR": str(folder / "state"),
        "AUTOPACK_RUNS_DIR": str(folder / "runs"),
    }  # fmt: skip
    _admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
    with ExitStack() as exits:
        exits.callback(lambda: _admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

        def enter() -> Stack:
            exits.enter_context(_using(name))
            exits.enter_context(override_settings(STATE_DIR=folder / "state", RUNS_DIR=folder / "runs"))
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                client.flushdb()
            return exits.enter_context(contextmanager(running)(environment, folder / "log"))

        yield enter


def test_runs_are_finished_by_an_empty_system_that_was_given_a_backup_of_them_at_work(
    world: World, stack: Stack, empty_system: Any, tmp_path: Path
) -> None:
    world.project(builder=NEVER_THE_SAME, gate=GREEN)
    stack.worker()
    stack.beat()
    ended = world.ended(world.start(world.plan("only"), run_id=f"before-{world.key}"))
    run = world.start(world.plan(*(f"p{number}" for number in range(5))))

    def merged() -> int:
        return run.phases.filter(state="COMPLETE").count()

    eventually(lambda: merged() >= 1, timeout_s=90)
    call_command("backup", tmp_path)
    (file,) = tmp_path.glob("autopack-*.tar")
    then = merged()
    eventually(lambda: merged() > then, timeout_s=90)  # what the backup does not know lands in the repository
    stack.stop()

    new = empty_system()
    report = restore(file)
    assert (report.projects, report.runs, report.live_runs) == (1, 2, 1)
    restored = Run.objects.get(pk=run.pk)
    mirror = mirror_of(Project.objects.get())
    assert mirror.read_ref(branch_ref(run.pk)) == restored.head_commit
    assert Run.objects.get(pk=ended.pk).state == "DONE_SUCCESS"
    assert not artefacts.check()  # files of runs are the database's
    with pytest.raises(RestoreRefused, match="not empty"):
        restore(file)
    assert {row.ref for row in report.ahead} >= {branch_ref(run.pk)}
    for row in report.ahead:
        subprocess.run(shlex.split(row.command), check=True, capture_output=True)
    new.worker()
    new.beat()
    assert_sound(world, world.ended(restored, timeout_s=120))
    assert len(world.commits(run)) == 5
    assert world.git("rev-parse", "main").strip() == world.base
    assert Attempt.objects.filter(run=run, state="MERGED").count() == 5
