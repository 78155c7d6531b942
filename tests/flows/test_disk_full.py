"""A full disk under a checkout is the environment's fault: tried again, and nothing half-written counts."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from integration import command_agents, gate, merge
from integration.models import GateRun
from runs import supervisor
from runs.models import Attempt, Phase, Run
from tests.flows import hand
from tests.flows.record import record
from tests.flows.soundness import assert_branch, assert_history, assert_ledger, left_folders
from tests.flows.stack import Stack
from tests.flows.test_kills import BUILDER
from tests.flows.world import World

pytestmark = [pytest.mark.real, pytest.mark.faults]
MIB = 1024 * 1024
GATE = [{"name": "unit", "argv": ["/bin/sh", "-c", "test -f big"]}]


@contextmanager
def small_disk(stack: Stack) -> Iterator[None]:
    """Put the checkouts on a disk of one MiB, where this process may mount one."""
    work = Path(settings.STATE_DIR) / "work"
    work.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(work)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(work)], check=True)


@contextmanager
def small_files(stack: Stack) -> Iterator[None]:
    """Let no process write a file beyond one MiB: what a full disk says, without root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def start(world: World, stack: Stack) -> Run:
    (world.repo / "big").write_bytes(os.urandom(2 * MIB))
    world.git("add", "-A")
    world.git("-c", "user.name=dev", "-c", "user.email=dev@example.org", "commit", "-qm", "a large file")
    world.base = world.git("rev-parse", "HEAD").strip()
    world.project(
        builder=None, gate=GATE, builders={"writer": {"kind": "command", "argv": BUILDER, "timeout_s": 60}}
    )
    run = world.start(world.plan("one"))
    supervisor.step(run.pk)
    return run


@pytest.mark.parametrize("full", [small_disk, small_files], ids=["disk", "files"])
def test_a_disk_that_is_full_for_a_builder_costs_no_attempt(world: World, stack: Stack, full: object) -> None:
    run = start(world, stack)
    phase = hand.phase_of(run, "one")
    with full(stack):  # type: ignore[operator]
        command_agents.work(phase.pk, "build")
        assert left_folders() == []
    failed = Attempt.objects.get(run=run)
    assert failed.failure_code == "checkout-failed", failed.failure_reason
    assert bytes(failed.patch) == b""
    phase.refresh_from_db()
    assert (phase.state, phase.builder_attempts) == ("QUEUED", 0)
    assert world.commits(run) == []
    finish(world, run, phase)
    record(
        f"a full disk under a builder's checkout ({getattr(full, '__name__', '')})", world, run, injected=1
    )


@pytest.mark.parametrize("full", [small_disk, small_files], ids=["disk", "files"])
def test_a_disk_that_is_full_for_a_gate_says_nothing_about_the_patch(
    world: World, stack: Stack, full: object
) -> None:
    run = start(world, stack)
    phase = hand.phase_of(run, "one")
    command_agents.work(phase.pk, "build")
    with full(stack):  # type: ignore[operator]
        gate.execute(GateRun.objects.get(run=run).pk)
        assert left_folders() == []
    broken = GateRun.objects.get(run=run, number=1)
    assert (broken.state, broken.verdict) == ("DONE", "infra_failed"), broken.reason
    phase.refresh_from_db()
    assert (phase.state, phase.builder_attempts) == ("GATE", 0)
    finish(world, run, phase)
    record(f"a full disk under a gate's checkout ({getattr(full, '__name__', '')})", world, run, injected=1)


def finish(world: World, run: Run, phase: Phase) -> None:
    """With room on the disk again the phase goes its way."""
    if phase.state == "QUEUED":
        command_agents.work(phase.pk, "build")
    gate.execute(GateRun.objects.open().get(run=run).pk)
    merge.merge(Attempt.objects.get(run=run, state="GREEN").pk)
    assert Run.objects.get(pk=run.pk).state == "DONE_SUCCESS", world.history(run)
    assert world.commits(run) == ["one: one"]
    assert left_folders() == []
    assert_history(world, run)
    assert_ledger(Run.objects.get(pk=run.pk))
    assert_branch(world, run)
