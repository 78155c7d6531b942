"""What a command agent leaves behind: last words with a secret, a tree without a bottom, a disk that fails.

The test is the worker: real services, git, sandbox and programs.
"""

from __future__ import annotations

from typing import Any

import pytest

from integration import command_agents
from integration.sandbox.ownership import MAX_DEPTH
from runs import supervisor
from runs.models import Attempt, Phase, Run, Transition
from tests.flows.stack import Stack
from tests.flows.world import PYTHON, World

pytestmark = pytest.mark.real
DOCS = {"phase_id": "one", "task_category": "docs"}
DEEP = f"""
import os
for _ in range({MAX_DEPTH + 10}):
    os.mkdir("d")
    os.chdir("d")
"""


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


def worked(world: World, body: str, **agent: Any) -> Run:
    """Let a command builder of this body work on a run's only phase; return the run."""
    program = world.folder / "agent.py"
    program.write_text(body)
    config = {"kind": "command", "argv": [PYTHON, str(program)], "toolchains": [str(program)], **agent}
    world.project(
        builder=None, builders={"mine": config}, gate=[{"name": "unit", "argv": ["/bin/sh", "-c", "ls"]}]
    )
    run = world.start(world.plan(DOCS))
    supervisor.step(run.pk)
    command_agents.work(Phase.objects.get(run=run).pk, "build")
    return run


def test_a_key_that_an_agent_was_entrusted_with_is_in_none_of_its_reasons(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, word = "no-shape-that-anybody-knows/0123456789", "debug"
    monkeypatch.setenv("MODEL_KEY", key)
    monkeypatch.setenv("MODEL_MODE", word)
    body = (
        "import os, sys\n"
        "print('ghp_' + 'a1B2c3D4e5' * 4)\n"
        "sys.exit(f\"refused: {os.environ['MODEL_KEY']} in mode {os.environ['MODEL_MODE']}\")\n"
    )
    run = worked(world, body, env_names=["MODEL_KEY", "MODEL_MODE"])
    attempt = Attempt.objects.get(run=run)
    said = [attempt.failure_reason, *Transition.objects.filter(run=run).values_list("why", flat=True)]
    said += [str(row) for row in Transition.objects.filter(run=run).values_list("data", flat=True)]
    told = "\n".join(filter(None, said))
    assert "refused: [redacted: MODEL_KEY] in mode debug" in told
    assert key not in told
    assert "ghp_a1B2" not in told


def test_a_secret_across_the_beginning_of_the_last_words_is_found_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "entrusted-" + "0123456789" * 4
    monkeypatch.setenv("MODEL_KEY", key)
    # 600 characters are told: without more being read, its second half would stand at their beginning
    body = f"import os, sys\nsys.exit(os.environ['MODEL_KEY'] + 'z' * {600 - len(key) // 2})\n"
    run = worked(world, body, env_names=["MODEL_KEY"])
    reason = str(Attempt.objects.get(run=run).failure_reason)
    assert "zzz" in reason
    assert key[len(key) // 2 + 2 :] not in reason


def test_a_tree_without_a_bottom_costs_its_builder_an_attempt(world: World) -> None:
    run = worked(world, DEEP)
    attempt = Attempt.objects.get(run=run)
    assert (attempt.state, attempt.failure_code) == ("FAILED", "tree-too-deep")
    assert Phase.objects.get(run=run).builder_attempts == 1


def test_a_disk_that_fails_after_the_agent_costs_no_attempt_and_keeps_what_it_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_fields: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command_agents, "collect", full)
    body = (
        "import json, os\n"
        "open('new.txt', 'w').write('x')\n"
        "json.dump({'status': 'success', 'tokens_used': 7}, open(os.environ['AUTOPACK_RESULT'], 'w'))\n"
    )
    run = worked(world, body)
    attempt, phase = Attempt.objects.get(run=run), Phase.objects.get(run=run)
    assert attempt.failure_code == "work-folder-failed"
    assert "No space left" in str(attempt.failure_reason)
    assert phase.builder_attempts == 0
