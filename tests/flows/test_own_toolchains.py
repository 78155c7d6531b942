"""An agent's program, and what it holds, is seen by that agent alone; the gate's checks by the gate alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runs.models import Phase
from tests.flows.stack import Stack
from tests.flows.world import PYTHON, World

pytestmark = [pytest.mark.real, pytest.mark.sandbox]
# It writes down which of the paths named after its first argument it sees.
LOOK = """
import os, sys
with open(sys.argv[1], "w") as out:
    out.write("".join(f"{path}\\n" for path in sys.argv[2:] if os.path.exists(path)))
"""
# It fails unless it sees the first path and no other.
CHECK = """
import os, sys
own, *others = sys.argv[1:]
assert os.path.exists(own), own
assert not any(map(os.path.exists, others)), others
"""


@pytest.fixture(scope="module", autouse=True)
def workers(stack: Stack) -> None:
    stack.worker(concurrency=3)
    stack.beat()


def folder_with(place: Path, name: str, text: str) -> Path:
    """Make a folder with a program in it; return the folder."""
    (place / name).mkdir()
    (place / name / "program.py").write_text(text)
    return place / name


def builder(folder: Path, category: str, *words: Any, **more: Any) -> dict[str, Any]:
    argv = [PYTHON, str(folder / "program.py"), f"{category}.txt", *map(str, words)]
    return {"kind": "command", "argv": argv, "categories": [category], "toolchains": [str(folder)], **more}


def test_each_sees_its_own_folder_and_no_other(world: World) -> None:
    one, two = (folder_with(world.folder, name, LOOK) for name in ("one", "two"))
    checks = folder_with(world.folder, "checks", CHECK)
    paths = [folder / "program.py" for folder in (one, two, checks)]
    step = {"name": "look", "argv": [PYTHON, str(checks / "program.py"), str(paths[2]), *map(str, paths[:2])]}
    world.project(
        builder=None,
        builders={"one": builder(one, "docs", *paths), "two": builder(two, "tests", *paths)},
        gates={"suites": {"unit": [step]}, "toolchains": [str(checks)]},
    )
    plan = world.plan({"phase_id": "a", "task_category": "docs"}, {"phase_id": "b", "task_category": "tests"})
    run = world.ended(world.start(plan))
    assert run.state == "DONE_SUCCESS", world.history(run)
    for name, own in (("docs", paths[0]), ("tests", paths[1])):
        assert world.git("show", f"autonomous/{run.pk}:{name}.txt").splitlines() == [str(own)]


def test_an_agents_toolchain_that_is_not_there_costs_no_attempt_and_is_named(world: World) -> None:
    own = folder_with(world.folder, "own", LOOK)
    config = builder(own, "docs", toolchains=[str(own), "/nowhere/tools"])
    world.project(builder=None, builders={"mine": config})
    run = world.ended(world.start(world.plan({"phase_id": "a", "task_category": "docs"})))
    assert (run.state, run.failure_code) == ("DONE_FAILED_ENVIRONMENT", "toolchain-missing"), world.history(
        run
    )
    assert "/nowhere/tools" in str(run.failure_reason)
    assert Phase.objects.get(run=run).builder_attempts == 0


def test_a_gates_toolchain_that_is_not_there_is_the_environments_fault_and_is_named(world: World) -> None:
    step = {"name": "look", "argv": [PYTHON, "-c", "pass"]}
    world.project(gates={"suites": {"unit": [step]}, "toolchains": ["/nowhere/checks"]})
    run = world.ended(world.start(world.plan("a")))
    assert run.state == "DONE_FAILED_ENVIRONMENT", world.history(run)
    assert "/nowhere/checks" in str(run.failure_reason)
