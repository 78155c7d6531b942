"""A worker dies at each named line of the code, once; others bring the run to the same end."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.crash import LINES
from integration.models import GitIntent
from runs import services
from runs.models import Attempt, Phase, Run, Transition
from runs.services import AuditResult
from tests.flows.record import record
from tests.flows.soundness import assert_sound
from tests.flows.stack import Stack, eventually
from tests.flows.world import WRITER, World

pytestmark = [pytest.mark.real, pytest.mark.faults]
GATE = [{"name": "unit", "argv": ["/bin/sh", "-c", "ls"]}]
APPROVE = 'answer(recommendation="approve", review_notes="fine", tokens_used=5)'
NOT_ON_THIS_PATH = {"merge-put-off", "move-given-up"}  # tests of their own below


@pytest.fixture(scope="module")
def armoury(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a line is armed."""
    return tmp_path_factory.mktemp("lines")


@pytest.fixture(scope="module")
def module_env(armoury: Path) -> dict[str, str]:
    return {"AUTOPACK_CRASH_DIR": str(armoury)}


@pytest.fixture(scope="module", autouse=True)
def workers(stack: Stack) -> None:
    stack.worker(concurrency=3)
    stack.beat()


def deaths(armoury: Path, line: str) -> list[Path]:
    return list(armoury.glob(f"{line}.*"))


@pytest.mark.parametrize("line", [line for line in LINES if line not in NOT_ON_THIS_PATH])
def test_a_crash_at_a_line_costs_nothing_but_time(world: World, armoury: Path, line: str) -> None:
    world.project(builder=WRITER, auditor=APPROVE, gate=GATE)
    # two side by side, so that one of them finds the branch moved; the last is audited
    plan = world.plan(
        {"phase_id": "one", "depends_on": ()},
        {"phase_id": "two", "depends_on": ()},
        {"phase_id": "three", "task_category": "security_auth"},
    )
    (armoury / line).write_text("kill")
    run = world.ended(world.start(plan), timeout_s=120)
    assert deaths(armoury, line), f"nobody passed {line}\n{world.history(run)}"
    assert_sound(world, run)
    assert len(world.commits(run)) == 3
    record(f"a crash at the line {line}", world, run, injected=len(deaths(armoury, line)))


def test_a_crash_after_an_approved_patch_was_sent_back_to_a_moved_branch(world: World, armoury: Path) -> None:
    # "two" builds until "one" waits for its audit: only then does the branch move under an approved patch
    world.project(builder="if phase == 'two': time.sleep(6)\n" + WRITER, gate=GATE)
    (armoury / "merge-put-off").write_text("kill")
    plan = world.plan(
        {"phase_id": "one", "depends_on": (), "task_category": "security_auth"},
        {"phase_id": "two", "depends_on": ()},
    )
    run = world.start(plan)
    audits = Attempt.objects.filter(run=run, kind="audit", state="WANTED")
    two = Phase.objects.filter(run=run, phase_id="two", state="COMPLETE")
    eventually(lambda: audits.exists() and two.exists(), timeout_s=90)
    verdict = AuditResult(verdict="approve", notes="fine")
    services.submit_audit_unleased(run.pk, "one", agent="reviewer", result=verdict)
    assert_sound(world, world.ended(run, timeout_s=120))
    events = Transition.objects.filter(run=run).order_by("id").values_list("subject", "event")
    order = [row for row in events if row in {("one", "gate_green"), ("two", "merged")}]
    if order[0] == ("one", "gate_green"):  # on a very slow machine "two" may land first all the same
        assert deaths(armoury, "merge-put-off")
    assert world.commits(run) == ["two: two", "one: one"]
    record("a crash at the line merge-put-off", world, run, injected=1)


def test_a_move_that_is_given_up_in_two_halves_leaves_the_branch_usable(world: World, armoury: Path) -> None:
    """The project refuses one push; the worker dies before it takes the mirror's branch back."""
    world.git("tag", f"autopack/run-{world.key}/one", "main")  # somebody's own: pushes over it are refused
    world.project(gate=GATE)
    (armoury / "move-given-up").write_text("kill")
    plan = world.plan({"phase_id": "one", "depends_on": ()}, {"phase_id": "two", "depends_on": ()})
    run = world.ended(world.start(plan), timeout_s=120)
    eventually(
        lambda: deaths(armoury, "move-given-up"), timeout_s=20
    )  # the run may end before its worker dies
    assert dict(run.phases.values_list("phase_id", "state")) == {"one": "FAILED", "two": "COMPLETE"}
    assert Phase.objects.get(run=run, phase_id="one").failure_code == "branch-conflict"
    assert GitIntent.objects.get(run=run, state="CONFLICT").attempt.phase.phase_id == "one"
    assert world.commits(run) == ["two: two"]
    world.git("tag", "-d", f"autopack/run-{world.key}/one")
    assert_sound(world, run, state="DONE_FAILED_ENVIRONMENT")
    record("a crash at the line move-given-up", world, run, injected=1)


def test_every_line_is_passed_by_one_ordinary_run(world: World, armoury: Path) -> None:
    """All lines are armed at once: a run that is killed at each of them still ends well."""
    for line in LINES:
        for death in deaths(armoury, line):
            death.unlink()
        (armoury / line).write_text("kill")
    world.project(builder=WRITER, auditor=APPROVE, gate=GATE)
    plan = world.plan(
        {"phase_id": "one", "depends_on": ()},
        {"phase_id": "two", "depends_on": ()},
        {"phase_id": "three", "depends_on": ()},
        {"phase_id": "four", "task_category": "security_auth"},
    )
    run: Run = world.ended(world.start(plan), timeout_s=240)
    assert_sound(world, run)
    missed = {line for line in LINES if not deaths(armoury, line)}
    assert missed == NOT_ON_THIS_PATH
    for line in missed:
        (armoury / line).unlink()
