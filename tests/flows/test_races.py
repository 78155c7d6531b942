"""Races on real connections: whoever wins, there is one winner, and the books agree with git."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError
from integration import merge
from integration.models import GateRun, GitIntent
from runs import outbox, services, supervisor
from runs.errors import LeaseHeld, PhaseNotReady, RunEnded, StaleLease
from runs.models import Attempt, Lease, Outbox, Run, TokenEntry, Transition
from runs.sweeps import wake_runs
from tests.flows import hand
from tests.flows.soundness import assert_branch, assert_history, assert_ledger
from tests.flows.stack import Stack
from tests.flows.world import World

pytestmark = [pytest.mark.real, pytest.mark.faults]
DOCS = {"task_category": "docs"}


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started: the tests are the workers."""


def failures(outcomes: list[object]) -> list[object]:
    return [outcome for outcome in outcomes if isinstance(outcome, BaseException)]


def recover(run: Run) -> None:
    """Do what the sweep would, at once: carry out what is intended, however young."""
    GitIntent.objects.open().update(due_at=clock.database_now() - timedelta(seconds=1))
    merge.recover()
    supervisor.step(run.pk)


def test_twenty_steps_at_once_prepare_a_run_once(world: World) -> None:
    world.project(builder=None)
    run = world.start(world.plan("one", "two"))
    outcomes = hand.at_once(*[partial(supervisor.step, run.pk)] * 20)
    assert failures(outcomes) == []
    assert Transition.objects.filter(run=run, event="prepared").count() == 1
    assert Run.objects.get(pk=run.pk).base_commit == world.base
    assert run.phases.filter(ready_at__isnull=False).count() == 1
    assert_history(world, run)


def test_ten_claims_of_one_phase_at_once_give_one_lease(world: World) -> None:
    world.project(builder=None)
    run = world.start(world.plan("one"))
    supervisor.step(run.pk)
    calls = [partial(services.claim_phase, run.pk, agent=f"agent-{n}", phase_id="one") for n in range(10)]
    outcomes = hand.at_once(*calls)
    refusals = failures(outcomes)
    assert len(refusals) == 9
    assert all(isinstance(error, LeaseHeld | PhaseNotReady) for error in refusals), refusals
    assert Lease.objects.filter(run=run).count() == Attempt.objects.filter(run=run).count() == 1
    assert hand.phase_of(run, "one").fence == 1
    assert TokenEntry.objects.filter(run=run, kind="reserve").count() == 1


def test_a_result_and_the_end_of_its_lease_at_once_leave_one_of_the_two(world: World) -> None:
    """Ten rounds of one phase: the lease ends somewhere around the submission."""
    world.project(builder=None)
    chance = random.Random(7)
    seen = set()
    run = world.start(world.plan(*[f"p{n}" for n in range(10)]))
    for number in range(10):
        name = f"p{number}"
        lease = hand.claim(run, name)
        ends = clock.database_now() + timedelta(milliseconds=chance.uniform(0, 120))
        Lease.objects.filter(pk=lease.lease_id).update(expires_at=ends)

        def expire() -> None:
            for _ in range(10):
                supervisor.step(run.pk)

        submit = partial(
            services.submit_build, lease.lease_id, fence=lease.fence, result=hand.result_for(name)
        )
        outcome = hand.at_once(submit, expire)
        attempt = Attempt.objects.get(pk=lease.attempt_id)
        if isinstance(outcome[0], StaleLease):
            assert attempt.state == "LOST"
            assert bytes(attempt.patch) == b""
            again = hand.claim(run, name)
            assert again.fence > lease.fence
            submitted = services.submit_build(again.lease_id, fence=again.fence, result=hand.result_for(name))
        else:
            assert not failures(outcome), outcome
            assert attempt.state == "SUBMITTED"
            assert Lease.objects.get(pk=lease.lease_id).release_reason == "submitted"
            submitted = attempt
        seen.add(attempt.state)
        assert Attempt.objects.filter(phase=attempt.phase, state="SUBMITTED").count() == 1
        hand.apply.build(submitted.pk)
        merge.merge(hand.pass_gate(submitted).pk)
        assert hand.phase_of(run, name).state == "COMPLETE"
    print(f"seen: {seen}")
    assert Run.objects.get(pk=run.pk).state == "DONE_SUCCESS"
    assert_history(world, run)
    assert_ledger(run)
    assert_branch(world, run)


@pytest.mark.parametrize("delay_ms", [0, 5, 15, 40, 80])
def test_a_cancel_that_races_a_merge_leaves_no_commit_without_its_phase(world: World, delay_ms: int) -> None:
    world.project(builder=None)
    run = world.start(world.plan("one", "two"))
    attempt = hand.green(run, "one")
    go = threading.Event()

    def cancel() -> None:
        go.wait(delay_ms / 1000)  # where in the merge the cancel falls
        services.cancel_run(run.pk, by="operator", why="changed my mind")

    outcomes = hand.at_once(partial(merge.merge, attempt.pk), cancel)
    assert failures(outcomes) == []
    recover(run)
    fresh = Run.objects.get(pk=run.pk)
    phase = hand.phase_of(run, "one")
    assert fresh.state == "DONE_CANCELLED"
    assert (phase.state == "COMPLETE") == (world.commits(run) == ["one: one"])
    assert phase.is_terminal
    assert hand.phase_of(run, "two").state == "SKIPPED"
    assert_history(world, run)
    assert_ledger(run)
    assert_branch(world, fresh)


def test_two_merges_and_two_recoveries_at_once_move_the_branch_once(world: World) -> None:
    world.project(builder=None)
    run = world.start(
        world.plan({"phase_id": "one", "depends_on": ()}, {"phase_id": "two", "depends_on": ()})
    )
    one, two = hand.green(run, "one"), hand.build(run, "two")
    calls = [partial(merge.merge, pk) for pk in (one.pk, two.pk, one.pk, two.pk)]
    outcomes = hand.at_once(*calls, partial(recover, run), partial(recover, run))
    assert failures(outcomes) == []
    recover(run)
    for _ in range(10):  # the second is rebuilt on the first, gated and merged
        for attempt in Attempt.objects.filter(run=run).open():
            if attempt.state == "SUBMITTED":
                hand.apply.build(attempt.pk)
            hand.pass_gate(attempt)
            merge.merge(attempt.pk)
    fresh = Run.objects.get(pk=run.pk)
    assert fresh.state == "DONE_SUCCESS", world.history(run)
    assert sorted(world.commits(run)) == ["one: one", "two: two"]
    assert_branch(world, fresh)


def test_an_old_fence_is_refused_whatever_it_asks(world: World) -> None:
    world.project(builder=None)
    run = world.start(world.plan("one"))
    old = hand.claim(run, "one")
    Lease.objects.filter(pk=old.lease_id).update(expires_at=clock.database_now())
    new = hand.claim(run, "one", agent="other")
    assert new.fence == old.fence + 1
    before = list(Attempt.objects.filter(run=run).order_by("pk").values())
    calls: list[Callable[[], object]] = [
        partial(services.heartbeat, old.lease_id, fence=old.fence),
        partial(services.heartbeat, old.lease_id, fence=new.fence),
        partial(services.heartbeat, new.lease_id, fence=old.fence),
        partial(services.release_lease, old.lease_id, fence=old.fence),
        partial(services.release_lease, new.lease_id, fence=old.fence),
        partial(services.submit_build, old.lease_id, fence=old.fence, result=hand.result_for("one")),
        partial(services.submit_build, new.lease_id, fence=old.fence, result=hand.result_for("one")),
        partial(services.fail_attempt, old.lease_id, fence=old.fence, code="x", reason="y"),
    ]
    for call in calls:
        with pytest.raises(StaleLease):
            call()
    assert list(Attempt.objects.filter(run=run).order_by("pk").values()) == before
    services.heartbeat(new.lease_id, fence=new.fence)


@pytest.mark.parametrize("jump", [timedelta(days=-2), timedelta(days=2)], ids=["back", "forward"])
def test_a_host_whose_clock_jumps_works_on(
    world: World, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    """Leases, deadlines and the outbox are judged by the database's clock alone."""

    def jumped() -> datetime:
        return timezone.now() + jump

    world.project(builder=None, gate=[{"name": "unit", "argv": ["/bin/sh", "-c", "ls"]}])
    monkeypatch.setattr(clock, "now", jumped)
    run = world.start(world.plan({"phase_id": "one", **DOCS}, {"phase_id": "two", **DOCS}))
    attempt = hand.green(run, "one")
    assert attempt.state == "GREEN", GateRun.objects.get(attempt=attempt).evidence
    merge.merge(attempt.pk)
    wake_runs_now()
    lease = hand.claim(run, "two")
    wake_runs_now()
    supervisor.step(run.pk)
    services.heartbeat(lease.lease_id, fence=lease.fence)
    fresh = Run.objects.get(pk=run.pk)
    assert not fresh.is_terminal, fresh.failure_reason
    assert hand.phase_of(run, "one").state == "COMPLETE"
    due = Outbox.objects.order_by("-due_at").first()
    assert due is not None
    assert abs((due.due_at - clock.database_now()).total_seconds()) < 120


def wake_runs_now() -> None:
    """Do what the sweep does."""
    wake_runs()
    outbox.resend()


def test_rows_in_backoff_never_crowd_out_others(world: World) -> None:
    Outbox.objects.all().delete()
    with transaction.atomic():
        for number in range(30):
            outbox.enqueue("artefacts.write", f"old-{number}", run_id="ghost")
    Outbox.objects.update(due_at=clock.database_now() - timedelta(seconds=9), sends=6)
    assert outbox.resend(limit=30) == 30
    with transaction.atomic():
        outbox.enqueue("artefacts.write", "young", run_id="ghost")
    Outbox.objects.filter(key="young").update(due_at=clock.database_now() - timedelta(seconds=1))
    assert outbox.resend(limit=10) == 1
    Outbox.objects.all().delete()


def test_several_workers_that_can_not_fetch_are_one_try(world: World, settings: Any) -> None:
    settings.GATE_BACKOFF_S = 60.0  # the next try is far away, however slow this machine is
    world.project(builder=None)
    run = world.start(world.plan("one"))
    away = world.repo.rename(world.folder / "away")
    outcomes = hand.at_once(*[partial(supervisor.step, run.pk)] * 5)
    assert failures(outcomes) == []
    fresh = Run.objects.get(pk=run.pk)
    assert (fresh.state, fresh.prepare_tries) == ("RUN_CREATED", 1)
    supervisor.step(run.pk)  # an old message: the next try is put off
    assert Run.objects.get(pk=run.pk).prepare_tries == 1
    assert outbox.is_put_off("run.step", run.pk)
    away.rename(world.repo)
    Outbox.objects.filter(topic="run.step", key=run.pk).update(due_at=clock.database_now())
    supervisor.step(run.pk)
    assert Run.objects.get(pk=run.pk).base_commit == world.base
    assert not Outbox.objects.filter(topic="run.step", key=run.pk).exists()


def test_cancel_refuses_a_run_that_has_ended_under_a_race(world: World) -> None:
    world.project(builder=None)
    run = world.start(world.plan("one"))
    supervisor.step(run.pk)
    outcomes = hand.at_once(*[partial(services.cancel_run, run.pk, by="operator", why="so")] * 5)
    assert len([one for one in outcomes if isinstance(one, RunEnded)]) == 4
    assert not [one for one in failures(outcomes) if not isinstance(one, AutopackError)]
    assert Transition.objects.filter(run=run, to_state="DONE_CANCELLED").count() == 1
