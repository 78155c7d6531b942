"""A plan becomes gated commits on its branch, through separately started workers."""

from __future__ import annotations

import pytest

from runs.models import Attempt, Outbox, TokenEntry, Transition
from tests.flows.stack import Stack, eventually
from tests.flows.world import PYTHON, World

pytestmark = pytest.mark.real
GREEN = [{"name": "unit", "argv": [PYTHON, "-c", "import os; print(sorted(os.listdir()))"]}]


@pytest.fixture(scope="module", autouse=True)
def workers(stack: Stack) -> None:
    stack.worker()
    stack.beat()


def test_a_plan_becomes_one_gated_commit_a_phase_on_its_branch(world: World) -> None:
    world.project(gate=GREEN)
    run = world.ended(world.start(world.plan("one", "two", {"phase_id": "three", "tier_id": "t2"}, tiers=2)))
    assert run.state == "DONE_SUCCESS", world.history(run)
    assert world.commits(run) == ["one: one", "two: two", "three: three"]
    assert world.git("rev-parse", f"autonomous/{run.pk}").strip() == run.head_commit
    tags = world.git("tag", "--list", f"autopack/{run.pk}/*").split()
    assert tags == [f"autopack/{run.pk}/{name}" for name in ("one", "three", "two")]
    trailers = world.git("log", "-1", "--format=%(trailers:key=Autopack-Phase,valueonly)", run.head_commit)
    assert trailers.strip() == "three"
    merged = Attempt.objects.filter(run=run, state="MERGED", kind="build")
    ends = [(attempt.submitted_at, attempt.ended_at, attempt.phase.completed_at) for attempt in merged]
    assert [all(times) and sorted(filter(None, times)) == list(times) for times in ends] == [True] * 3


def test_the_users_checkout_and_branch_are_left_alone(world: World) -> None:
    world.project(gate=GREEN)
    (world.repo / "unsaved").write_text("mine\n")
    world.ended(world.start(world.plan("one")))
    assert world.git("rev-parse", "main").strip() == world.base
    assert world.git("status", "--porcelain").splitlines() == ["?? unsaved"]


def test_every_version_is_contiguous_and_the_ledger_adds_up(world: World) -> None:
    world.project(gate=GREEN)
    run = world.ended(world.start(world.plan("one", "two")))
    for machine in ("run", "tier", "phase"):
        subjects = Transition.objects.filter(run=run, machine=machine, version__isnull=False)
        for subject in set(subjects.values_list("subject", flat=True)):
            versions = list(subjects.filter(subject=subject).order_by("id").values_list("version", flat=True))
            assert versions == list(range(1, len(versions) + 1)), (machine, subject)
    entries = TokenEntry.objects.filter(run=run)
    held = sum(
        (e.tokens or 0) * (1 if e.kind == "reserve" else -1)
        for e in entries
        if e.kind in ("reserve", "release")
    )
    spent = sum(e.tokens or 0 for e in entries if e.kind in ("settle", "adjust"))
    assert (held, spent) == (0, 20)
    assert (run.tokens_used, run.tokens_reserved) == (20, 0)


def test_nothing_intended_is_left_open(world: World) -> None:
    world.project(gate=GREEN)
    run = world.ended(world.start(world.plan("one")))
    keys = [run.pk, *Attempt.objects.filter(run=run).values_list("pk", flat=True)]
    eventually(
        lambda: not Outbox.objects.filter(key__in=keys).exists(), timeout_s=20, what="open outbox rows"
    )
