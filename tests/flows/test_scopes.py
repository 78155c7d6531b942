"""Run scopes, safety profiles, split plans, test reports and gate deadlines, through the real stack."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from integration.models import GateRun
from issues.models import BacklogEntry, Issue
from runs import ports, services
from runs.models import Attempt, Phase, Run
from runs.ports import IssueReport
from strategy.types import RunOptions
from tests.flows.stack import Stack, eventually
from tests.flows.world import PYTHON, WRITER, World

pytestmark = pytest.mark.real
GREEN = [{"name": "unit", "argv": [PYTHON, "-c", "pass"]}]
DOCS = {"task_category": "docs"}
NOT_ONE = [{"name": "unit", "argv": [PYTHON, "-c", "import os; assert not os.path.exists('one.txt')"]}]


@pytest.fixture(scope="module", autouse=True)
def workers(stack: Stack) -> None:
    stack.worker(concurrency=3)
    stack.beat()


def two_tiers(world: World) -> tuple[dict[str, object], ...]:
    return ({"phase_id": "one", **DOCS}, {"phase_id": "two", "tier_id": "t2", **DOCS})


def test_a_failed_tier_does_not_block_the_next_in_multi_tier(world: World) -> None:
    world.project(gate=NOT_ONE)
    run = world.ended(world.start(world.plan(*two_tiers(world), {"phase_id": "spare", **DOCS}, tiers=2)))
    assert run.state == "DONE_FAILED_GATE", world.history(run)
    assert dict(run.tiers.values_list("tier_id", "state")) == {"t1": "FAILED", "t2": "COMPLETE"}
    assert "two: two" in world.commits(run)


def test_a_failed_tier_ends_a_single_tier_run_there(world: World) -> None:
    world.project(gate=NOT_ONE)
    plan = world.plan(*two_tiers(world), {"phase_id": "spare", **DOCS}, tiers=2)
    run = world.ended(world.start(plan, run_scope="single_tier"))
    assert run.state == "DONE_FAILED_GATE", world.history(run)
    assert dict(run.tiers.values_list("tier_id", "state")) == {"t1": "FAILED", "t2": "SKIPPED"}
    assert not Attempt.objects.filter(run=run, phase__phase_id="two").exists()


def test_a_failed_phase_ends_a_safety_critical_run_at_once(world: World) -> None:
    world.project(gate=NOT_ONE)
    plan = world.plan({"phase_id": "one", **DOCS}, {"phase_id": "later", **DOCS})
    run = world.ended(world.start(plan, safety_profile="safety_critical"))
    assert run.state == "DONE_FAILED_GATE", world.history(run)
    assert dict(run.phases.values_list("phase_id", "state")) == {"one": "FAILED", "later": "SKIPPED"}


def test_a_tier_with_a_major_issue_is_not_clean_and_the_run_not_eligible(world: World) -> None:
    world.project(builder=WRITER, gate=GREEN)
    run = world.start(world.plan("one"))
    phase = Phase.objects.get(run=run)
    ports.ledger().record(phase.pk, [IssueReport("leak", "major", "probe", "memory")], reporter="tests")
    ended = world.ended(run)
    assert ended.state == "DONE_SUCCESS", world.history(run)
    assert ended.tiers.get().cleanliness == "not_clean"
    assert (ended.major_issues_count, ended.minor_issues_count) == (1, 0)


def test_a_large_plan_document_becomes_linked_runs_one_after_the_other(world: World) -> None:
    world.project(gate=GREEN)
    text = "\n".join(
        f"## Tier {tier}\n\n" + "\n".join(f"- Phase {tier} {n}\n  - category: docs" for n in range(2)) + "\n"
        for tier in range(2)
    )
    runs = services.start_plan_document(
        f"big-{world.key}", project_id=world.key, text=text, options=RunOptions(max_phases=2), by="tests"
    )
    assert [run.pk for run in runs] == [f"big-{world.key}", f"big-{world.key}.2"]
    first, second = (world.ended(run) for run in runs)
    assert (first.state, second.state) == ("DONE_SUCCESS", "DONE_SUCCESS"), world.history(second)
    assert second.base_commit == first.head_commit
    assert first.completed_at is not None
    assert second.started_at is not None
    assert first.completed_at <= second.started_at


def test_every_failing_test_of_a_report_becomes_an_issue(world: World) -> None:
    report = (
        '<testsuite tests="3"><testcase classname="tests.test_a" name="test_x"><failure message="no"/></testcase>'
        '<testcase classname="tests.test_a" name="test_y"><error message="oh"/></testcase>'
        '<testcase classname="tests.test_a" name="test_z"/></testsuite>'
    )
    code = f"import pathlib; pathlib.Path('report.xml').write_text({report!r})"
    world.project(gate=[{"name": "unit", "argv": [PYTHON, "-c", code], "reports": ["report.xml"]}])
    run = world.ended(world.start(world.plan({"phase_id": "one", **DOCS}, {"phase_id": "two", **DOCS})))
    keys = set(
        Issue.objects.filter(phase__run=run, phase__phase_id="one").values_list("issue_key", flat=True)
    )
    assert keys == {"tests.test_a::test_x", "tests.test_a::test_y"}
    entry = BacklogEntry.objects.get(project__project_id=world.key, issue_key="tests.test_a::test_x")
    assert entry.status == "open"
    gate = GateRun.objects.filter(run=run).first()
    assert gate is not None
    assert gate.evidence["tries"][0]["steps"][0]["tests"] == {
        "tests": 3,
        "failures": 1,
        "errors": 1,
        "skipped": 0,
    }
    assert gate.verdict == "red"  # exit code 0 does not outvote its own report


def test_a_promised_report_that_is_missing_is_red(world: World) -> None:
    world.project(gate=[{"name": "unit", "argv": [PYTHON, "-c", "pass"], "reports": ["report.xml"]}])
    run = world.ended(world.start(world.plan({"phase_id": "one", **DOCS}, {"phase_id": "two", **DOCS})))
    assert run.state == "DONE_FAILED_GATE", world.history(run)
    assert "report.xml: missing" in (run.failure_reason or "")


def test_a_gate_without_a_verdict_by_its_deadline_failed_as_infrastructure(world: World) -> None:
    world.project(
        gate=[{"name": "unit", "argv": [PYTHON, "-c", "import time; time.sleep(60)"], "timeout_s": 90}]
    )
    run = world.start(world.plan({"phase_id": "one", **DOCS}))
    for number in (1, 2, 3):
        running = GateRun.objects.filter(run=run, number=number, state="RUNNING")
        eventually(running.exists, what=f"gate run {number}")
        GateRun.objects.filter(run=run, number=number).update(
            deadline_at=timezone.now() - timedelta(seconds=1)
        )
    ended = world.ended(run)
    assert (ended.state, ended.failure_code) == ("DONE_FAILED_ENVIRONMENT", "gate-infrastructure"), (
        world.history(run)
    )
    assert set(GateRun.objects.filter(run=run).values_list("verdict", flat=True)) == {"infra_failed"}
    assert Phase.objects.get(run=run).builder_attempts == 0


def test_independent_phases_are_in_flight_together_and_each_lands_once(world: World) -> None:
    world.project(builder="time.sleep(0.5)\n" + WRITER, gate=GREEN)
    free = [{"phase_id": f"p{n}", "depends_on": (), **DOCS} for n in range(4)]
    run = world.ended(world.start(world.plan(*free)))
    assert run.state == "DONE_SUCCESS", world.history(run)
    assert sorted(world.commits(run)) == [f"p{n}: p{n}" for n in range(4)]
    starts = sorted(Attempt.objects.filter(run=run).values_list("created_at", flat=True))
    ends = sorted(filter(None, Attempt.objects.filter(run=run).values_list("submitted_at", flat=True)))
    assert starts[1] < ends[0], "no two attempts overlapped"
    assert Run.objects.get(pk=run.pk).head_commit == world.git("rev-parse", f"autonomous/{run.pk}").strip()
