"""What the disk does to Autopack's own folders ends in a decision: it is tried again, and not for ever."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from integration import apply, command_agents, merge
from integration.git_errors import UnknownRevision
from integration.mirror import Mirror
from integration.models import GitIntent
from integration.repository import mirror_of
from runs import services, supervisor
from runs.models import Attempt, Outbox, Phase, Run, Transition
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.world import World

pytestmark = [pytest.mark.real, pytest.mark.faults]
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/autopack/state/secret-place")


@pytest.fixture(autouse=True)
def _no_wait(stack: Stack, settings: Any) -> None:
    """What is put off is due at once: these tests call each step themselves."""
    settings.GATE_BACKOFF_S = 0.0


def fail(*_args: object, **_options: object) -> Any:
    raise NO_SPACE


def start(world: World) -> Run:
    world.project(builder=None, gate=[])
    return world.start(world.plan("one"))


def submitted(world: World) -> tuple[Run, Attempt]:
    run = start(world)
    lease = hand.claim(run, "one")
    result = hand.result_for("one")
    return run, services.submit_build(lease.lease_id, fence=lease.fence, result=result)


def mirror_for(run: Run) -> Mirror:
    return mirror_of(run.project)


def ended(run: Run) -> tuple[str, str]:
    fresh = Run.objects.get(pk=run.pk)
    return fresh.state, fresh.failure_code


def test_a_mirror_that_can_not_be_made_is_tried_three_times_and_ends_the_run(
    world: World, settings: Any, tmp_path: Path
) -> None:
    settings.STATE_DIR = tmp_path / "state"
    settings.STATE_DIR.mkdir()
    (settings.STATE_DIR / "mirrors").write_text("a file where the folder should be")
    run = start(world)
    for tries in (1, 2):
        supervisor.step(run.pk)
        fresh = Run.objects.get(pk=run.pk)
        assert (fresh.state, fresh.prepare_tries) == ("RUN_CREATED", tries)
    supervisor.step(run.pk)
    assert ended(run) == ("DONE_FAILED_ENVIRONMENT", "storage-failed")
    reason = Run.objects.get(pk=run.pk).failure_reason or ""
    assert "mirror" in reason
    assert str(tmp_path) not in reason
    assert not Outbox.objects.filter(topic="run.step", key=run.pk).exists()


def test_a_run_goes_on_once_the_disk_has_room_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(world)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", fail)
        supervisor.step(run.pk)
    assert Run.objects.get(pk=run.pk).prepare_tries == 1
    supervisor.step(run.pk)
    assert Run.objects.get(pk=run.pk).base_commit == world.base


def test_a_mirror_removed_under_a_run_ends_it_and_not_the_runs_after_it(world: World) -> None:
    run, attempt = submitted(world)
    mirror = mirror_for(run)
    shutil.rmtree(mirror.path)
    for _ in range(3):
        apply.build(attempt.pk)
    assert not mirror.path.exists(), "a quarantine brought back a part of the mirror"
    assert ended(run) == ("DONE_FAILED_ENVIRONMENT", "storage-failed")
    later = world.start(world.plan("one"), run_id=f"{run.pk}-later")
    assert hand.green(later, "one").state == "GREEN"


def test_a_full_disk_under_a_candidate_is_tried_again_and_costs_no_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, attempt = submitted(world)
    with monkeypatch.context() as full:
        full.setattr("integration.quarantine.locked_folder", fail)
        for _ in range(2):
            apply.build(attempt.pk)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.infra_failures) == ("SUBMITTED", 2)
    assert Outbox.objects.filter(topic="candidate.build", key=attempt.pk).exists()
    apply.build(attempt.pk)
    attempt.refresh_from_db()
    assert attempt.state in ("CANDIDATE", "GATING", "GREEN")
    assert hand.phase_of(run, "one").builder_attempts == 0


def test_a_disk_that_stays_full_under_candidates_ends_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, attempt = submitted(world)
    monkeypatch.setattr("integration.quarantine.locked_folder", fail)
    for _ in range(3):
        apply.build(attempt.pk)
    assert ended(run) == ("DONE_FAILED_ENVIRONMENT", "storage-failed")
    assert "secret-place" not in (Phase.objects.get(run=run).failure_reason or "")
    assert not Outbox.objects.filter(topic="candidate.build", key=attempt.pk).exists()
    assert Transition.objects.filter(run=run, event="apply_failed").count() == 3


def test_workers_that_meet_one_fault_at_once_count_it_once(world: World) -> None:
    _run, attempt = submitted(world)
    for _ in range(4):
        services.record_broken_apply(
            attempt.pk, code="storage-failed", reason="full", base=attempt.base_commit, try_again_after=0
        )
    attempt.refresh_from_db()
    assert (attempt.state, attempt.infra_failures) == ("SUBMITTED", 1)


def test_a_base_that_the_mirror_has_not_ends_the_run_at_once(world: World) -> None:
    run, attempt = submitted(world)
    mirror = mirror_for(run)
    shutil.rmtree(mirror.path)
    mirror.create()  # by another run of the project, which fetched other commits
    with pytest.raises(UnknownRevision):
        mirror.resolve(attempt.base_commit)
    apply.build(attempt.pk)
    assert ended(run) == ("DONE_FAILED_ENVIRONMENT", "unknown-revision")


def test_a_mirror_removed_under_a_command_agent_ends_the_phase_without_waiting_for_leases(
    world: World,
) -> None:
    world.project(gate=[])
    run = world.start(world.plan("one"))
    supervisor.step(run.pk)
    shutil.rmtree(mirror_for(run).path)
    for _ in range(3):
        command_agents.work(hand.phase_of(run, "one").pk, "build")
    assert ended(run) == ("DONE_FAILED_ENVIRONMENT", "checkout-failed")


def planned_move(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, GitIntent]:
    """A move of the branch that is recorded, and whose worker was lost before it began."""
    run = start(world)
    attempt = hand.green(run, "one")
    with monkeypatch.context() as lost:
        lost.setattr(merge, "carry_out", lambda _intent: None)
        merge.merge(attempt.pk)
    return run, GitIntent.objects.get(run=run)


def recover(intent: GitIntent) -> None:
    GitIntent.objects.filter(pk=intent.pk).update(due_at="2020-01-01T00:00Z")
    merge.recover()
    intent.refresh_from_db()


def test_a_move_whose_mirror_is_gone_is_given_up_after_its_last_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, intent = planned_move(world, monkeypatch)
    shutil.rmtree(mirror_for(run).path)
    for tries in range(1, merge.PUSH_TRIES):
        recover(intent)
        assert (intent.state, intent.tries) == ("PLANNED", tries)
    recover(intent)
    assert intent.state == "CONFLICT"
    assert ended(run) == ("DONE_FAILED_ENVIRONMENT", "storage-failed")
    assert not Outbox.objects.filter(topic="move.undo", key=intent.pk).exists()


def test_no_phase_of_an_ended_run_waits_for_a_move_that_can_not_be_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, intent = planned_move(world, monkeypatch)
    Run.objects.filter(pk=run.pk).update(deadline_at="2020-01-01T00:00Z")
    supervisor.step(run.pk)
    assert Run.objects.get(pk=run.pk).is_terminal
    assert not hand.phase_of(run, "one").is_terminal  # git may have moved: the move decides
    shutil.rmtree(mirror_for(run).path)
    for _ in range(merge.PUSH_TRIES):
        recover(intent)
    assert hand.phase_of(run, "one").state == "FAILED"
    assert Attempt.objects.get(run=run).state == "DROPPED"
    assert ended(run)[0] == "DONE_FAILED_BUDGET_EXHAUSTED"


def test_a_move_that_failed_for_a_while_is_made_after_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, intent = planned_move(world, monkeypatch)
    with monkeypatch.context() as full:
        full.setattr("integration.mirror.held", fail)
        recover(intent)
    assert (intent.state, intent.tries) == ("PLANNED", 1)
    assert "secret-place" not in intent.reason
    recover(intent)
    assert intent.state == "DONE"
    assert ended(run)[0] == "DONE_SUCCESS"
    assert world.commits(run) == ["one: one"]
