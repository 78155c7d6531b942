"""What a run resolves goes by the gates that it went through: green, waived, with a scope and without.

The test is the worker: real services, git, gates and judgement.
"""

from __future__ import annotations

from typing import Any

import pytest

from integration import apply, merge
from integration.models import GateRun
from issues.models import BacklogEntry
from runs import ports, services, supervisor
from runs.models import Attempt, Run
from runs.ports import IssueReport
from runs.services import BuildResult
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.world import World

pytestmark = pytest.mark.real
PASSES = [{"name": "unit", "argv": ["/bin/sh", "-c", "ls"]}]
DOCS = {"phase_id": "manual", "task_category": "docs"}


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


def known(world: World) -> None:
    """Have the project know a failing test, a leak elsewhere, and a word in the file that `manual` will touch."""
    run = world.start(world.plan(DOCS), run_id=f"{world.key}-before")
    supervisor.step(run.pk)
    found = [
        IssueReport(
            "tests/test_io.py::test_it", "minor", "test", "test_failure", evidence_refs=("tests/test_io.py",)
        ),
        IssueReport("leak", "minor", "probe", "resource_leak", evidence_refs=("src/io.py",)),
        IssueReport("typo", "minor", "probe", "wording", evidence_refs=("manual.txt",)),
    ]
    ports.ledger().record(hand.phase_of(run, "manual").pk, found, reporter="probe")


def succeeded(world: World, verdict: str, **fields: Any) -> Run:
    """Let a run of the one phase, which adds manual.txt, go through to its end."""
    run = world.start(world.plan({**DOCS, **fields}), run_id=f"{world.key}-after")
    merge.merge(hand.green(run, "manual").pk)
    supervisor.step(run.pk)
    run.refresh_from_db()
    assert run.state == "DONE_SUCCESS"
    assert GateRun.objects.get(run=run).verdict == verdict
    return run


def resolved(world: World) -> set[str]:
    rows = BacklogEntry.objects.filter(project__project_id=world.key, status="resolved")
    return set(rows.values_list("issue_key", flat=True))


def test_a_green_gate_of_a_phase_of_documents_resolves_failures_of_tests_and_what_it_touched(
    world: World,
) -> None:
    world.project(builder=None, gate=PASSES)
    known(world)
    run = succeeded(world, "green")
    assert resolved(world) == {"tests/test_io.py::test_it", "typo"}
    assert BacklogEntry.objects.get(project=run.project, issue_key="typo").fixed_by == run.head_commit


def test_a_waived_gate_resolves_nothing(world: World) -> None:
    world.project(builder=None)
    known(world)
    succeeded(world, "waived")
    assert resolved(world) == set()


def test_a_green_gate_of_a_phase_with_a_scope_resolves_what_lies_in_it(world: World) -> None:
    world.project(builder=None, gate=PASSES)
    known(world)
    succeeded(world, "green", scope=("src/**", "manual.txt"))
    assert resolved(world) == {"leak", "typo"}


def test_a_builder_that_names_files_which_its_patch_does_not_touch_is_not_believed(world: World) -> None:
    world.project(builder=None, gate=PASSES)
    known(world)
    run = world.start(world.plan(DOCS), run_id=f"{world.key}-after")
    lease = hand.claim(run, "manual")
    told = {"touched_paths": ["src/io.py"]}
    result = BuildResult(status="success", patch=hand.patch_of("manual"), report=told)
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    apply.build(attempt.pk)
    merge.merge(hand.pass_gate(Attempt.objects.get(pk=attempt.pk)).pk)
    supervisor.step(run.pk)
    assert Run.objects.get(pk=run.pk).state == "DONE_SUCCESS"
    assert resolved(world) == {"tests/test_io.py::test_it", "typo"}
