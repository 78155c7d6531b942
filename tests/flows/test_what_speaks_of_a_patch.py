"""What a red gate says of a patch, and what it does not: a test that had no time to end is not one that failed.

The test is the worker: real services, git and gates.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autopack_site.kernel import clock
from integration import gate
from integration.models import GateRun
from issues.models import Issue
from runs import supervisor
from runs.models import Phase, Run
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.world import PYTHON, World

pytestmark = pytest.mark.real
SLEEPS: dict[str, Any] = {"name": "unit", "argv": ["/bin/sh", "-c", "sleep 60"]}
DOCS = {"phase_id": "one", "task_category": "docs"}


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


def waiting(world: World) -> GateRun:
    """Bring a phase up to a gate that waits for a worker."""
    attempt = hand.build(world.start(world.plan(DOCS)), "one")
    return GateRun.objects.get(attempt=attempt)


def judged(found: GateRun) -> GateRun:
    gate.execute(found.pk)
    found.refresh_from_db()
    return found


def test_a_step_that_the_gates_deadline_cuts_off_is_no_red(world: World, settings: Any) -> None:
    settings.GATE_DEADLINE_S = 1.0
    world.project(builder=None, gate=[SLEEPS])
    found = judged(waiting(world))
    assert (found.verdict, len(found.evidence["tries"])) == ("infra_failed", 1)
    assert "deadline" in found.reason
    assert not Issue.objects.filter(phase__run=found.run_id).exists()
    assert Phase.objects.get(run=found.run_id).builder_attempts == 0


def test_a_rerun_that_the_deadline_cuts_off_does_not_make_the_first_red_a_verdict(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.GATE_BACKOFF_S = 0.0
    world.project(builder=None, gate=[{**SLEEPS, "timeout_s": 1}])
    real = gate.run_try

    def hurried(*args: Any, **fields: Any) -> dict[str, Any]:
        if fields["number"] == 2:
            fields["ends"] = time.monotonic()
        return real(*args, **fields)

    monkeypatch.setattr(gate, "run_try", hurried)
    found = judged(waiting(world))
    assert [row["verdict"] for row in found.evidence["tries"]] == ["red", "infra_failed"]
    assert found.verdict == "infra_failed"


def test_the_runs_deadline_in_a_gate_ends_the_run_on_time_and_blames_no_test(world: World) -> None:
    world.project(builder=None, gate=[SLEEPS])
    found = waiting(world)
    Run.objects.filter(pk=found.run_id).update(deadline_at=clock.database_now() + timedelta(seconds=2))
    assert judged(found).verdict == "infra_failed"
    supervisor.step(found.run_id)
    run = Run.objects.get(pk=found.run_id)
    assert (run.state, run.failure_code) == ("DONE_FAILED_BUDGET_EXHAUSTED", "run_max_duration_minutes")
    assert not Issue.objects.filter(phase__run=run).exists()


def test_the_time_in_the_queue_is_not_the_tests(world: World) -> None:
    world.project(builder=None, gate=[{"name": "unit", "argv": ["/bin/sh", "-c", "sleep 1"]}])
    found = waiting(world)
    almost = clock.database_now() + timedelta(seconds=0.3)
    GateRun.objects.filter(pk=found.pk).update(deadline_at=almost)
    assert judged(found).verdict == "green"


def test_the_steps_of_a_try_share_the_configured_time_and_beyond_it_are_red(
    world: World, settings: Any
) -> None:
    settings.GATE_BACKOFF_S = 0.0
    steps = [{"name": name, "argv": ["/bin/sh", "-c", "sleep 2"]} for name in ("first", "second")]
    world.project(builder=None, gates={"suites": {"unit": steps}, "limits": {"wall_s": 3}})
    found = judged(waiting(world))
    assert found.verdict == "red"
    [_, second] = found.evidence["tries"][0]["steps"]
    assert (second["name"], second["reason"]) == ("second", "timeout")


EATS = """
import os, time
for _ in range(6):
    os.fork() or (bytearray(b"x" * (60 << 20)), time.sleep(60))
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("step", "verdict", "word"),
    [
        ({"argv": [PYTHON, "-c", EATS]}, "red", "memory limit"),
        ({"argv": ["./run_tests"]}, "red", "run_tests"),
        ({"argv": ["/no/such/tool"]}, "infra_failed", "/no/such/tool"),
    ],
    ids=[
        "too much memory",
        "a program of the checkout that is not there",
        "a program of the machine that is not there",
    ],
)
def test_what_the_tests_of_a_patch_do_is_red_and_what_the_machine_lacks_is_not(
    world: World, settings: Any, step: dict[str, Any], verdict: str, word: str
) -> None:
    settings.GATE_BACKOFF_S = 0.0
    world.project(
        builder=None, gates={"suites": {"unit": [{"name": "unit", **step}]}, "limits": {"memory_mb": 128}}
    )
    found = judged(waiting(world))
    assert (found.verdict, word in found.reason) == (verdict, True), found.reason


def test_a_tree_without_a_bottom_that_passing_tests_leave_is_nobody_s_failure(
    world: World, settings: Any
) -> None:
    deep = "import os\nfor _ in range(600):\n    os.mkdir('d')\n    os.chdir('d')\n"
    world.project(builder=None, gate=[{"name": "unit", "argv": [PYTHON, "-c", deep]}])
    found = judged(waiting(world))
    assert found.verdict == "green", found.reason
    assert not list((Path(settings.STATE_DIR) / "work").glob("gate-*"))


def test_tests_that_hang_in_each_try_are_red_though_the_tries_take_longer_than_the_deadline(
    world: World, settings: Any
) -> None:
    settings.GATE_DEADLINE_S, settings.GATE_BACKOFF_S = 6.0, 0.0
    world.project(builder=None, gate=[{**SLEEPS, "timeout_s": 4}])
    found = judged(waiting(world))
    assert ([row["verdict"] for row in found.evidence["tries"]], found.verdict) == (["red", "red"], "red")
