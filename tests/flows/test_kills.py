"""Workers are killed with SIGKILL, at random, over a whole run: nothing is lost and nothing happens twice."""

from __future__ import annotations

import os
import random
import resource
import time
from typing import Any

import pytest

from integration.models import GateRun
from runs.models import Attempt, Run, Transition
from tests.flows.record import record
from tests.flows.soundness import assert_sound, survivors
from tests.flows.stack import Stack, eventually
from tests.flows.supervision import Killer, Supervised
from tests.flows.world import World

pytestmark = [pytest.mark.real, pytest.mark.faults]
PHASES = 40
# sh starts in a hundredth of Python's time: what is tested here is the engine, not the agents
BUILDER = [
    "/bin/sh", "-c",
    'echo "work of $AUTOPACK_PHASE_ID" > "$AUTOPACK_PHASE_ID.txt"; '
    "echo '{\"status\": \"success\", \"tokens_used\": 10}' > \"$AUTOPACK_RESULT\"",
]  # fmt: skip
GATE = [{"name": "unit", "argv": ["/bin/sh", "-c", "test -f README && ls"]}]


def long_plan(world: World, phases: int = PHASES) -> Any:
    """Three chains side by side, and now and then a phase that waits for all before it."""
    rows: list[dict[str, Any]] = []
    for number in range(phases):
        row: dict[str, Any] = {"phase_id": f"p{number:03}"}
        if number % 10 != 9:
            row["depends_on"] = (f"p{number - 3:03}",) if number > 2 else ()
        rows.append(row)
    return world.plan(*rows)


def start_long_run(world: World, phases: int = PHASES) -> Run:
    project = world.project(
        builder=None, gate=GATE, builders={"writer": {"kind": "command", "argv": BUILDER, "timeout_s": 60}}
    )
    assert project.ruleset is not None
    document = project.ruleset.document
    # kills cost attempts nothing, but rebases cost gates: their cap is no part of this
    rows = {
        name: {**row, "tier_ci_run_cap_multiplier": 50} for name, row in document["category_defaults"].items()
    }
    world.amend(project, run_max_phases=phases, category_defaults=rows)
    return world.start(long_plan(world, phases))


def kill_through(world: World, stack: Stack, *, kills: int, phases: int, limit_s: float) -> Killer:
    """Run the plan while killing; every kill comes at a random point of the run's progress."""
    seed = int(os.environ.get("AUTOPACK_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}: AUTOPACK_KILL_SEED={seed} repeats the choices")
    chance = random.Random(seed)
    began = time.monotonic()
    supervised = Supervised(stack)
    killer = Killer(supervised, chance)
    run = start_long_run(world, phases)
    # A run without faults has more than ten events a phase: every kill finds it at work.
    moments = sorted(chance.uniform(3, 9 * phases) for _ in range(kills))
    deadline = time.monotonic() + limit_s
    for moment in moments:

        def is_time(moment: float = moment) -> object:
            supervised.keep()
            if time.monotonic() > deadline or Run.objects.get(pk=run.pk).is_terminal:
                raise AssertionError(f"the run stands still:\n{world.history(run)[-6000:]}")
            return Transition.objects.filter(run=run).count() >= moment

        eventually(is_time, timeout_s=limit_s)
        eventually(supervised.until(killer.strike), timeout_s=60)
    started = time.monotonic()
    eventually(
        supervised.until(lambda: Run.objects.get(pk=run.pk).is_terminal),
        timeout_s=max(deadline - time.monotonic(), 60),
        what="the run to end after the last kill",
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    counts = [model.objects.filter(run=run).count() for model in (Transition, GateRun, Attempt)]
    print(
        f"killed {dict(killer.count)}, {supervised.restarts} restarts, "
        f"over after {time.monotonic() - started:.1f} s; "
        f"events, gates, attempts: {counts}; "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU in workers that were seen to end"
    )
    assert killer.count.total() == kills
    assert_sound(world, run)
    assert run.phases.filter(state="COMPLETE").count() == phases
    stack.stop()
    eventually(lambda: not survivors(), timeout_s=30, what=lambda: f"they survive: {survivors()}")
    record(
        f"kill -9 of {kills} worker parents and pool children, {phases} phases",
        world,
        run,
        injected=kills,
        took_s=time.monotonic() - began,
    )
    return killer


def test_twenty_kills_over_forty_phases_lose_nothing_and_double_nothing(world: World, stack: Stack) -> None:
    kill_through(world, stack, kills=20, phases=PHASES, limit_s=400)


@pytest.mark.torture
def test_two_hundred_kills_over_forty_phases_lose_nothing_and_double_nothing(
    world: World, stack: Stack
) -> None:
    kill_through(world, stack, kills=200, phases=PHASES, limit_s=3000)
