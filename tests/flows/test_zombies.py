"""Workers that come back from the dead, clocks that tick twice and messages that come five times: no difference."""

from __future__ import annotations

import os
import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.conf import settings

from integration.models import GateRun, GitIntent
from integration.refs import branch_ref
from integration.repository import mirror_of
from runs.models import Attempt, Lease, Phase, Run, Transition
from tests.flows.record import record
from tests.flows.soundness import assert_ledger, assert_sound, left_folders
from tests.flows.stack import Stack, eventually
from tests.flows.world import WRITER, World

pytestmark = [pytest.mark.real, pytest.mark.faults]
GATE = [{"name": "unit", "argv": ["/bin/sh", "-c", "ls"]}]
BOOKED = {"tokens_used", "usage", "usage_source"}  # what was spent is booked however late it is told (API)


@pytest.fixture
def armoury(tmp_path: Path) -> Path:
    folder = tmp_path / "lines"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def nothing_runs(stack: Stack) -> Any:
    """Each test has its own workers."""
    yield
    stack.stop()


def frozen_at(armoury: Path, line: str) -> int | None:
    """Return the number of the process that is stopped at the line."""
    for mark in armoury.glob(f"{line}.*"):
        pid = int(mark.suffix[1:])
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return pid
    return None


def picture(world: World, run: Run) -> dict[str, Any]:
    """Return everything that a late worker might change."""
    mirror = mirror_of(Run.objects.select_related("project").get(pk=run.pk).project)
    return {
        "run": Run.objects.filter(pk=run.pk).values("state", "version", "head_commit").get(),
        "phases": list(
            Phase.objects.filter(run=run).order_by("pk").values("state", "version", "fence", "commit_sha")
        ),
        "attempts": [
            {key: value for key, value in row.items() if key not in BOOKED}
            for row in Attempt.objects.filter(run=run).order_by("pk").values()
        ],
        "leases": list(Lease.objects.filter(run=run).order_by("pk").values()),
        "gates": list(GateRun.objects.filter(run=run).order_by("pk").values()),
        "intents": list(GitIntent.objects.filter(run=run).order_by("pk").values()),
        "events": list(Transition.objects.filter(run=run).order_by("id").values_list("event", flat=True)),
        "mirror": (mirror.read_ref(branch_ref(run.pk)), mirror.refs(f"refs/tags/autopack/{run.pk}")),
        "user": world.git(
            "for-each-ref", "refs/heads/main", f"refs/heads/{run.branch}", f"refs/tags/autopack/{run.pk}/"
        ),
    }


@pytest.mark.parametrize(
    ("line", "late_events"),
    [
        ("agent-finished", ["late_result"]),
        ("candidate-built", []),
        ("gate-claimed", []),
        ("gate-judged", []),
        ("intent-recorded", []),
        ("branch-moved", []),
        ("pushed", []),
    ],
)
def test_a_worker_frozen_past_its_lease_writes_nothing_when_it_is_thawed(
    world: World, stack: Stack, armoury: Path, line: str, late_events: list[str]
) -> None:
    world.project(builder=WRITER, gate=GATE)
    stack.beat()
    (armoury / line).write_text("stop")
    zombie = stack.worker(concurrency=1, extra={"AUTOPACK_CRASH_DIR": str(armoury)})
    run = world.start(world.plan("one", "two"))
    pid = eventually(lambda: frozen_at(armoury, line), timeout_s=90, what=f"nobody froze at {line}")
    stack.kill(zombie, signal.SIGSTOP)  # the whole group: a host that stands still
    living = stack.worker(concurrency=1)
    assert_sound(world, world.ended(run, timeout_s=120), is_tidy=False)
    assert world.commits(run) == ["one: one", "two: two"]
    before = picture(world, run)

    stack.kill(living)
    stack.kill(zombie, signal.SIGCONT)
    # The pool has one process, so what it does next it does after what it was frozen in.
    proof = world.ended(world.start(world.plan("one"), run_id=f"proof-{world.key}"), timeout_s=120)
    assert proof.state == "DONE_SUCCESS"
    assert os.path.exists(f"/proc/{pid}"), "the zombie was killed, not thawed"
    after = picture(world, run)
    events = after["events"][len(before["events"]) :]
    before["events"] += events
    assert after == before
    assert events == late_events
    eventually(lambda: not left_folders(), timeout_s=30, what="folders lie about")
    assert_ledger(Run.objects.get(pk=run.pk))
    tokens = Run.objects.get(pk=run.pk).tokens_used
    assert tokens == (30 if line == "agent-finished" else 20)  # the zombie's agent spent its ten as well
    record(f"a worker frozen at the line {line} past its lease, and thawed", world, run, injected=1)


@pytest.mark.parametrize("beats", [2, pytest.param(5, marks=pytest.mark.torture)])
def test_several_beats_double_nothing(world: World, stack: Stack, beats: int) -> None:
    world.project(builder=WRITER, gate=GATE)
    stack.worker()
    for _ in range(beats):
        stack.beat()
    plan = world.plan({"phase_id": "one", "depends_on": ()}, {"phase_id": "two", "depends_on": ()}, "three")
    run = world.ended(world.start(plan), timeout_s=120)
    assert_sound(world, run)
    assert Attempt.objects.filter(run=run).count() == 3
    assert Run.objects.get(pk=run.pk).tokens_used == 30
    record(f"{beats} beats at once", world, run, injected=beats)


def has_moved(run: Run, seen: int) -> bool:
    return Transition.objects.filter(run=run).count() > seen or Run.objects.get(pk=run.pk).is_terminal


def messages(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """Return every message that the run has given rise to up to now, as (topic, arguments)."""
    found: list[tuple[str, dict[str, Any]]] = [
        ("run.step", {"run_id": run.pk}),
        ("artefacts.write", {"run_id": run.pk}),
    ]
    for pk in Phase.objects.filter(run=run).values_list("pk", flat=True):
        found += [("agent.work", {"phase_pk": pk, "kind": kind}) for kind in ("build", "audit")]
    for attempt_id in Attempt.objects.filter(run=run).values_list("pk", flat=True):
        found += [(topic, {"attempt_id": attempt_id}) for topic in ("candidate.build", "candidate.merge")]
    for gate_run_id in GateRun.objects.filter(run=run).values_list("pk", flat=True):
        found.append(("gate.run", {"gate_run_id": gate_run_id}))
    return found


def test_every_message_five_times_in_random_order_changes_nothing(world: World, stack: Stack) -> None:
    """Not only twice: out of order too, of work long done or not yet due."""
    auditor = 'answer(recommendation="approve", review_notes="fine", tokens_used=5)'
    world.project(builder=WRITER, auditor=auditor, gate=GATE)
    seed = random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    stack.worker(concurrency=3)
    stack.beat()
    plan = world.plan(
        {"phase_id": "one", "depends_on": ()},
        {"phase_id": "two", "depends_on": ()},
        {"phase_id": "three", "task_category": "security_auth"},
    )
    run = world.start(plan)
    sent: set[str] = set()
    while not Run.objects.get(pk=run.pk).is_terminal:
        fresh = [message for message in messages(run) if repr(message) not in sent]
        sent |= {repr(message) for message in fresh}
        storm = fresh * 5
        if not fresh:
            storm = [chance.choice(messages(run))]  # an old one, at any moment
        chance.shuffle(storm)
        deliver(storm)
        seen = Transition.objects.filter(run=run).count()
        eventually(partial(has_moved, run, seen), timeout_s=90, what="the run does not get on")
    storm = messages(run) * 5
    chance.shuffle(storm)
    deliver(storm)
    assert_sound(world, run)
    assert sorted(world.commits(run)) == ["one: one", "three: three", "two: two"]
    kinds = list(Attempt.objects.filter(run=run).order_by("kind").values_list("kind", flat=True))
    assert kinds == ["audit", "build", "build", "build"]
    assert Run.objects.get(pk=run.pk).tokens_used == 35
    record("every message five times, in random order", world, run, injected=len(sent) * 5)


def deliver(storm: list[tuple[str, dict[str, Any]]]) -> None:
    """Send messages past the outbox, which knows nothing of them."""
    for topic, arguments in storm:
        task, queue = settings.AUTOPACK_TOPICS[topic]
        current_app.send_task(task, kwargs=arguments, queue=queue, ignore_result=True)
