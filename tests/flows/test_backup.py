"""A backup taken in the midst of runs, restored into an empty system, where the runs go on to their ends."""

from __future__ import annotations

import io
import shlex
import shutil
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

from autopack_site.backup import postgres
from autopack_site.backup.errors import RestoreRefused
from autopack_site.backup.restore import restore
from autopack_site.backup.save import save
from integration import merge
from integration.artefacts import service as artefacts
from integration.refs import branch_ref, tag_ref
from integration.repository import mirror_of
from runs.models import Attempt, Run
from strategy.models import Project
from tests.flows import hand
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


@pytest.fixture(autouse=True)
def alone(stack: Stack) -> Iterator[None]:
    """A backup is of all that there is: each test begins with nothing, and leaves nothing."""
    yield
    stack.stop()
    call_command("flush", verbosity=0, interactive=False)
    shutil.rmtree(settings.STATE_DIR, ignore_errors=True)
    shutil.rmtree(settings.RUNS_DIR, ignore_errors=True)


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


def test_what_happens_between_the_snapshot_and_the_copy_of_the_mirrors_is_taken_back(
    world: World, stack: Stack, empty_system: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.project(builder=None, gate=GREEN, builders={"outside": {"kind": "pull"}})
    run = world.start(world.plan("one", "two", "three"))
    merge.merge(hand.green(run, "one").pk)
    hand.build(run, "two")  # a candidate whose gate waits
    known = Attempt.objects.get(run=run, phase__phase_id="two").candidate_sha
    dump = postgres.dump

    def dump_and_go_on(path: Path) -> None:
        dump(path)
        merge.merge(hand.pass_gate(Attempt.objects.get(run=run, phase__phase_id="two")).pk)
        hand.build(run, "three")

    monkeypatch.setattr(postgres, "dump", dump_and_go_on)
    file = save(tmp_path / "b.tar")
    moved = Run.objects.get(pk=run.pk).head_commit

    empty_system()
    report = restore(file)
    restored = Run.objects.get(pk=run.pk)
    mirror = mirror_of(Project.objects.get())
    assert restored.phases.filter(state="COMPLETE").count() == 1
    assert mirror.read_ref(branch_ref(run.pk)) == restored.head_commit != moved
    assert list(mirror.refs(f"refs/tags/autopack/{run.pk}")) == [tag_ref(run.pk, "one")]
    kept = mirror.refs("refs/autopack/")
    assert {ref.split("/")[-2] for ref in kept} == {
        "one",
        "two",
    }  # not the one that the snapshot does not know
    assert known in kept.values()
    mirror.fsck()
    assert {(row.ref, row.present, row.wanted) for row in report.ahead} == {
        (branch_ref(run.pk), moved, restored.head_commit), (tag_ref(run.pk, "two"), moved, None),
    }  # fmt: skip
    told = io.StringIO()
    call_command(
        "restore", file, replace=True, stdout=told
    )  # over itself: all of it is given up and made again
    assert "1 projects, 1 runs, 1 of them not ended" in told.getvalue()
    assert "--force-with-lease=" in told.getvalue()


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
