"""Budgets while agents work, through real processes: told at 80 %, stopped at the whole, the patch so far kept."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autopack_site.kernel import clock
from runs.models import Attempt, Lease, Meter, Phase, Run, TokenEntry, Transition
from tests.flows.stack import Stack, eventually
from tests.flows.test_pull_agents import GREEN, Client, agents, claim, new_file, start, submit, web
from tests.flows.world import World
from tests.integration.sandbox.conftest import processes_with

__all__ = ["agents", "web"]
pytestmark = pytest.mark.real

SPENDER = """
import signal, subprocess
usage = open(os.environ["AUTOPACK_USAGE"], "a")
def spend(tokens, **more):
    usage.write(json.dumps({"usage": {"tokens": tokens, "model": "m-1", **more}}) + "\\n")
    usage.flush()
def budget():
    return json.load(open(os.environ["AUTOPACK_BUDGET"]))
def until(state):
    while budget()["state"] != state:
        time.sleep(0.02)
cap = budget()["cap"]
pathlib.Path("half.txt").write_text("so far\\n")
"""


@pytest.fixture(scope="module")
def module_env() -> dict[str, str]:
    return {"AUTOPACK_BUDGET_GRACE_S": "6", "AUTOPACK_LEASE_TTL_S": "5"}


def one_phase(world: World, builder: str | None, **more: Any) -> Run:
    """Start a run of one phase that has one attempt."""
    project = world.project(builder=builder, gate=GREEN, **more)
    assert project.ruleset is not None
    document = project.ruleset.document
    rows = {name: {**row, "max_builder_attempts": 1} for name, row in document["category_defaults"].items()}
    world.amend(project, category_defaults=rows)
    return world.start(world.plan({"phase_id": "one", "task_category": "docs"}))


def events(run: Run | str) -> list[str]:
    return list(Transition.objects.filter(run=run).order_by("id").values_list("event", flat=True))


def test_a_pull_agent_that_overspends_is_told_then_stopped_and_its_patch_is_kept(
    agents: dict[str, Client], world: World
) -> None:
    world.project(builder=None, gate=GREEN)
    run_id = start(agents, world, {"phase_id": "one", "task_category": "docs"})
    lease = claim(agents["builder"], run_id)
    attempt = Attempt.objects.get(pk=lease["attempt_id"])
    cap = attempt.token_cap
    assert cap

    def beat(tokens: int | None) -> dict[str, Any]:
        body: dict[str, Any] = {"fence": lease["fence"]}
        if tokens is not None:
            body["usage"] = {"tokens": tokens, "agent": "hand", "model": "m-1"}
        status, answer = agents["builder"].call("POST", f"/leases/{lease['lease_id']}/heartbeat", body)
        assert status == 200, answer
        budget: dict[str, Any] = answer["budget"]
        return budget

    assert (beat(None)["spent"], beat(None)["cap"], beat(None)["state"]) == (None, cap, "ok")
    assert beat(cap // 2)["state"] == "ok"
    told = beat(-(-cap * 8 // 10))
    assert (told["state"], told["limit"], told["stop_by"]) == ("nearly_spent", "max_attempt_tokens", None)
    assert beat(cap // 10)["spent"] == -(-cap * 8 // 10)  # a lower figure is ignored
    stop = beat(cap + 5)
    assert (stop["state"], stop["spent"]) == ("spent", cap + 5)
    assert stop["stop_by"] == beat(None)["stop_by"]  # the end stays where it is
    held = Lease.objects.get(pk=lease["lease_id"])
    meter = Meter.objects.get(attempt=attempt)
    assert meter.stop_by is not None
    assert held.expires_at <= meter.stop_by <= clock.now() + timedelta(seconds=6)
    status, answer = submit(
        agents["builder"], lease, new_file("half.txt", "so far"), status="stopped", tokens_used=1
    )
    assert status == 200, answer
    attempt.refresh_from_db()
    assert (attempt.state, attempt.failure_code) == ("FAILED", "max_attempt_tokens")
    assert b"+so far" in bytes(attempt.patch)
    assert (attempt.tokens_used, attempt.overrun, attempt.usage["model"]) == (cap + 5, 5, "m-1")
    told_of = [name for name in events(run_id) if name.startswith(("budget_", "usage_"))]
    assert told_of == ["budget_nearly_spent", "usage_fell", "budget_spent"]
    agents["operator"].call("POST", f"/runs/{run_id}/cancel", {"why": "seen enough"})


def test_a_pull_agent_that_never_hands_in_loses_its_lease_at_the_end_of_the_grace(
    agents: dict[str, Client], world: World
) -> None:
    run = one_phase(world, None)
    lease = claim(agents["builder"], run.pk)
    body = {"fence": lease["fence"], "usage": {"tokens": 10**9}}
    assert agents["builder"].call("POST", f"/leases/{lease['lease_id']}/heartbeat", body)[0] == 200
    ended = world.ended(run, timeout_s=40)
    assert ended.state == "DONE_FAILED_BUDGET_EXHAUSTED", world.history(run)
    assert ended.failure_code == "max_attempt_tokens"
    status, answer = agents["builder"].call("POST", f"/leases/{lease['lease_id']}/heartbeat", body)
    assert (status, answer["code"]) == (409, "stale-lease")
    phase = Phase.objects.get(run=run)
    assert (phase.failure_cause, phase.failure_code, phase.tokens_used) == (
        "budget",
        "max_attempt_tokens",
        10**9,
    )
    body["usage"] = {"tokens": 10**9 + 7}  # what comes late is booked, and shown as overrun
    assert agents["builder"].call("POST", f"/leases/{lease['lease_id']}/heartbeat", body)[0] == 409
    ended.refresh_from_db()
    assert ended.token_cap is not None
    assert (ended.tokens_used, ended.overrun) == (10**9 + 7, 10**9 + 7 - ended.token_cap)


def test_a_command_agent_that_heeds_the_signal_keeps_its_tree_as_the_patch(agents: Any, world: World) -> None:
    run = one_phase(
        world,
        SPENDER
        + """
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
def last(*_):
    pathlib.Path("told.txt").write_text(f"{len(heard)} notice\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, last)
usage.write('{"listens": true}\\n')
spend(cap * 85 // 100, output_tokens=5)
until("nearly_spent")
while not heard:
    time.sleep(0.02)
spend(cap + 1)
time.sleep(60)
""",
    )
    ended = world.ended(run)
    assert (ended.state, ended.failure_code) == ("DONE_FAILED_BUDGET_EXHAUSTED", "max_attempt_tokens")
    attempt = Attempt.objects.get(run=run)
    assert (attempt.state, attempt.failure_code) == ("FAILED", "max_attempt_tokens")
    patch = bytes(attempt.patch)
    assert b"half.txt" in patch
    assert b"+1 notice" in patch
    assert attempt.candidate_sha == ""  # it never said that it was done: no gate
    assert (attempt.overrun, attempt.usage["output_tokens"], attempt.usage["agent"]) == (1, 5, "writer")


def test_a_command_agent_that_says_it_is_done_within_the_grace_is_judged_like_any_other(
    agents: Any, world: World
) -> None:
    run = one_phase(
        world,
        SPENDER
        + """
def last(*_):
    answer(status="success")
    sys.exit(0)
signal.signal(signal.SIGTERM, last)
spend(cap + 1)
time.sleep(60)
""",
    )
    assert world.ended(run).state == "DONE_SUCCESS", world.history(run)
    assert "budget_spent" in events(run)
    assert Attempt.objects.get(run=run).overrun == 1


def test_a_command_agent_that_ignores_the_signal_is_killed_with_everything_it_forked(
    agents: Any, world: World
) -> None:
    mark = f"7200.{int(world.key[1:], 16) % 10**9:09d}"
    run = one_phase(
        world,
        SPENDER
        + f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    os.execvp("sleep", ["sleep", "{mark}"])
spend(cap + 1)
while True:
    time.sleep(60)
""",
    )
    ended = world.ended(run)
    assert (ended.state, ended.failure_code) == ("DONE_FAILED_BUDGET_EXHAUSTED", "max_attempt_tokens")
    assert processes_with(mark) == []
    assert b"half.txt" in bytes(Attempt.objects.get(run=run).patch)


def test_a_killed_worker_loses_no_usage_that_was_reported(stack: Stack, world: World, tmp_path: Path) -> None:
    stack.stop()
    worker = stack.worker(concurrency=1)
    stack.beat()
    project = world.project(builder=SPENDER + 'spend(1234, model="m-9")\ntime.sleep(60)\n', gate=GREEN)
    assert project is not None
    run = world.start(world.plan({"phase_id": "one", "task_category": "docs"}))
    eventually(lambda: Meter.objects.filter(attempt__run=run, tokens=1234).exists(), what="the report")
    for child in stack.children(worker):
        os.kill(child, signal.SIGKILL)
    stack.kill(worker)
    eventually(lambda: stack.worker() is not None)
    eventually(
        lambda: Attempt.objects.filter(run=run, state="LOST").exists(),
        timeout_s=40,
        what=lambda: world.history(run),
    )
    lost = Attempt.objects.filter(run=run, state="LOST").get()
    assert (lost.tokens_used, lost.usage_source, lost.usage["model"]) == (1234, "reported", "m-9")
    settled = TokenEntry.objects.get(attempt=lost, kind="settle")
    assert settled.tokens == 1234
    assert Phase.objects.get(run=run).tokens_used == 1234
