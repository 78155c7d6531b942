"""Every terminal state of a run, reached through the real stack, with what it leaves behind."""

from __future__ import annotations

import http.server
import json
import shutil
import socketserver
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.utils import timezone

from integration.models import GateRun
from runs import ports, services
from runs.lifecycle import AttemptState
from runs.models import Attempt, Phase, Run, Transition
from runs.ports import IssueReport
from tests.flows.leftovers import FORKS, processes_with
from tests.flows.stack import Stack, eventually
from tests.flows.world import PYTHON, WRITER, World

pytestmark = pytest.mark.real
GREEN = [{"name": "unit", "argv": [PYTHON, "-c", "pass"]}]
RED = [{"name": "unit", "argv": [PYTHON, "-c", "raise SystemExit('two and two are five')"]}]
APPROVE = 'answer(recommendation="approve", review_notes="fine", tokens_used=5)'
REVISE = 'answer(recommendation="revise", review_notes="say it louder", tokens_used=5)'
ESCALATE = 'answer(recommendation="escalate", review_notes="a person must look at this")'
SLOW = "time.sleep(60)"


@pytest.fixture(scope="module", autouse=True)
def workers(stack: Stack) -> None:
    stack.worker(concurrency=3)
    stack.beat()


def incident(run: Run) -> dict[str, object]:
    """Return the run's incident pack once it is written."""
    folder = Path(settings.RUNS_DIR) / run.pk / "incident"
    names = (
        "incident.json",
        "incident.md",
        "budgets.json",
        "strategy.json",
        "timeline.jsonl",
        "attempts.json",
    )
    eventually(
        lambda: all((folder / name).exists() for name in names),
        timeout_s=30,
        what=f"no incident pack of {run.pk}",
    )
    found: dict[str, object] = json.loads((folder / "incident.json").read_text())
    return found


def assert_ended(run: Run, state: str, code: str, world: World) -> None:
    assert (run.state, run.failure_code) == (state, code), world.history(run)
    ends = Transition.objects.filter(run=run, machine="run", to_state__startswith="DONE_")
    assert ends.count() == 1
    assert not run.phases.exclude(state__in=["COMPLETE", "FAILED", "SKIPPED"]).exists()
    assert not run.leases.live().exists()
    assert not GateRun.objects.open().filter(run=run).exists()
    assert run.tokens_reserved == 0
    if state.startswith("DONE_FAILED"):
        incident(run)


# -- budgets ----------------------------------------------------------------------------------------------


def test_spent_tokens_end_the_run_before_the_next_attempt_starts(world: World) -> None:
    world.project(builder=WRITER.replace("tokens_used=10", "tokens_used=900"), gate=GREEN)
    run = world.ended(world.start(world.plan("one", "two"), token_cap=1000))
    assert_ended(run, "DONE_FAILED_BUDGET_EXHAUSTED", "run_token_cap", world)
    assert world.commits(run) == ["one: one"]
    assert not Attempt.objects.filter(run=run, phase__phase_id="two").exists()


def test_the_wall_clock_ends_a_run_and_kills_its_agent(world: World) -> None:
    mark = f"forked-by-{world.key}"
    world.project(builder=FORKS.format(mark=mark), gate=GREEN)
    run = world.start(world.plan("one"))
    eventually(lambda: processes_with(mark), what="no agent started")
    Run.objects.filter(pk=run.pk).update(deadline_at=timezone.now())
    ended = world.ended(run)
    assert_ended(ended, "DONE_FAILED_BUDGET_EXHAUSTED", "run_max_duration_minutes", world)
    eventually(lambda: not processes_with(mark), timeout_s=30, what=lambda: str(processes_with(mark)))


def test_a_gate_run_cap_ends_the_run(world: World) -> None:
    world.project(gate=RED)
    plan = world.plan("one")
    run = world.ended(world.start(plan))
    assert_ended(run, "DONE_FAILED_BUDGET_EXHAUSTED", "tier_ci_run_cap", world)


def test_too_many_minor_issues_end_the_run(world: World) -> None:
    world.project(builder=SLOW, gate=GREEN)
    run = world.start(world.plan("one"))
    phase = Phase.objects.get(run=run)
    eventually(lambda: Attempt.objects.filter(run=run, state="RUNNING").exists())
    reports = [IssueReport(f"key-{n}", "minor", "probe", "style") for n in range(4)]
    ports.ledger().record(phase.pk, reports, reporter="tests")
    assert_ended(world.ended(run), "DONE_FAILED_BUDGET_EXHAUSTED", "run_max_minor_issues_total", world)


# -- policy -----------------------------------------------------------------------------------------------


def test_a_forbidden_patch_in_every_attempt_is_a_policy_violation(world: World) -> None:
    world.project(
        builder="pathlib.Path('.github/workflows').mkdir(parents=True)\n"
        "pathlib.Path('.github/workflows/ci.yml').write_text('on: push')",
        gate=GREEN,
    )
    run = world.ended(world.start(world.plan("one")))
    assert_ended(run, "DONE_FAILED_POLICY_VIOLATION", "protected-path", world)
    assert world.commits(run) == []
    assert set(Attempt.objects.filter(run=run).values_list("state", flat=True)) == {"REFUSED"}


# -- gates ------------------------------------------------------------------------------------------------


def test_a_red_gate_in_every_attempt_is_a_gate_failure(world: World) -> None:
    world.project(gate=RED)
    # docs: two attempts, and a second phase so that the tier's gate runs suffice
    plan = world.plan(
        {"phase_id": "one", "task_category": "docs"}, {"phase_id": "two", "task_category": "docs"}
    )
    run = world.ended(world.start(plan))
    assert_ended(run, "DONE_FAILED_GATE", "gate-red", world)
    assert world.commits(run) == []
    first = GateRun.objects.filter(run=run).first()
    assert first is not None
    assert [row["verdict"] for row in first.evidence["tries"]] == ["red", "red"]
    tail = Path(settings.RUNS_DIR) / run.pk / "incident" / "gate_tail.txt"
    eventually(tail.exists)
    assert "two and two are five" in tail.read_text()


def test_a_failed_phase_skips_what_depends_on_it_and_the_rest_is_tried(world: World) -> None:
    builder = WRITER + "\nif phase == 'one': pathlib.Path('bad').write_text('x')"
    gate = [{"name": "unit", "argv": [PYTHON, "-c", "import os; assert not os.path.exists('bad')"]}]
    world.project(builder=builder, gate=gate)
    docs = {"task_category": "docs"}
    plan = world.plan(
        {"phase_id": "one", **docs},
        {"phase_id": "two", "depends_on": ("one",), **docs},
        {"phase_id": "three", "depends_on": (), **docs},
    )
    run = world.ended(world.start(plan))
    assert_ended(run, "DONE_FAILED_GATE", "gate-red", world)
    assert dict(run.phases.values_list("phase_id", "state")) == {
        "one": "FAILED", "two": "SKIPPED", "three": "COMPLETE",
    }  # fmt: skip
    assert world.commits(run) == ["three: three"]


# -- review -----------------------------------------------------------------------------------------------

RISKY = {"phase_id": "one", "task_category": "security_auth"}


def test_a_high_risk_phase_lands_after_an_approving_audit_only(world: World) -> None:
    world.project(auditor=APPROVE, gate=GREEN)
    run = world.ended(world.start(world.plan(RISKY)))
    assert run.state == "DONE_SUCCESS", world.history(run)
    events = list(Transition.objects.filter(run=run, subject="one").values_list("event", flat=True))
    assert events.index("gate_green") < events.index("audit_approved") < events.index("merged")
    audit = Attempt.objects.get(run=run, kind="audit")
    build = Attempt.objects.get(run=run, kind="build")
    assert (audit.verdict, audit.patch_hash) == ("approve", build.patch_hash)


def test_an_escalating_auditor_ends_the_run_for_a_person(world: World) -> None:
    world.project(auditor=ESCALATE, gate=GREEN)
    run = world.ended(world.start(world.plan(RISKY)))
    assert_ended(run, "DONE_FAILED_REQUIRES_HUMAN_REVIEW", "auditor-escalated", world)
    assert world.commits(run) == []


def test_revise_sends_its_notes_into_the_next_brief(world: World) -> None:
    builder = """
prose = pathlib.Path(os.environ["AUTOPACK_BRIEF_MD"]).read_text()
assert prose.startswith("# Guard the door\\n"), prose
assert "`src/**`" in prose, prose
assert ("louder" in prose) == ("louder" in brief["notes"]), prose
pathlib.Path("src").mkdir(exist_ok=True)
pathlib.Path("src/out.txt").write_text("LOUD" if "louder" in prose else "quiet")
answer()
"""
    auditor = (
        'loud = "LOUD" in brief["target"]["patch"]\n'
        'answer(recommendation="approve" if loud else "revise", review_notes="ok" if loud else "say it louder")'
    )
    world.project(builder=builder, auditor=auditor, gate=GREEN)
    plan = world.plan({**RISKY, "name": "Guard the door", "scope": ("src/**",)})
    run = world.ended(world.start(plan))
    assert run.state == "DONE_SUCCESS", world.history(run)
    assert world.git("show", f"autonomous/{run.pk}:src/out.txt") == "LOUD"
    verdicts = list(Attempt.objects.filter(run=run, kind="audit").values_list("verdict", flat=True))
    assert verdicts == ["revise", "approve"]


def test_an_autopack_yaml_of_the_repository_is_a_file_like_any_other(world: World) -> None:
    """Whoever may write to the repository must not choose what its gate is, nor who builds."""
    mark = world.folder / "the-repository-chose"
    touch = ["/bin/sh", "-c", f"touch {mark}"]
    hostile = {
        "version": 1,
        "builders": {"theirs": {"kind": "command", "argv": touch}},
        "gates": {"profiles": {name: [{"name": "unit", "argv": touch}] for name in ("normal", "strict")}},
    }
    (world.repo / "autopack.yaml").write_text(yaml.safe_dump(hostile))
    world.git("add", "-A")
    world.git("-c", "user.name=dev", "-c", "user.email=dev@example.org", "commit", "-qm", "take over")
    project = world.project(gate=RED)
    run = world.ended(world.start(world.plan({"phase_id": "one", "task_category": "docs"})))
    assert run.state == "DONE_FAILED_GATE", "the operator's gate is red, theirs would be green"
    assert set(Attempt.objects.filter(run=run, kind="build").values_list("agent", flat=True)) == {"writer"}
    assert not mark.exists()
    project.refresh_from_db()
    assert set(project.config["builders"]) == {"writer"}


def test_audits_that_never_agree_are_exhausted(world: World) -> None:
    builder = 'pathlib.Path("out.txt").write_text(str(time.time()))\nanswer()'
    world.project(builder=builder, auditor=REVISE, gate=GREEN)
    run = world.ended(world.start(world.plan(RISKY, "two")))
    assert run.state == "DONE_FAILED_REQUIRES_HUMAN_REVIEW", world.history(run)
    # two builds and three audits are allowed: the builds are used up first
    assert run.failure_code == "attempts-exhausted"
    assert "(all 2 builder attempts are used: max_builder_attempts)" in str(run.failure_reason)
    assert Phase.objects.get(run=run, phase_id=RISKY["phase_id"]).auditor_attempts == 2
    assert world.commits(run) == ["two: two"]


def test_an_auditors_own_patch_goes_the_governed_path(world: World) -> None:
    patch = (
        "diff --git a/fixed.txt b/fixed.txt\nnew file mode 100644\n--- /dev/null\n+++ b/fixed.txt\n"
        "@@ -0,0 +1 @@\n+fixed\n"
    )
    auditor = (
        f"answer(recommendation='revise', review_notes='so', suggested_patches="
        f"[dict(description='fix', patch_content={patch!r}, files_affected=['fixed.txt'])])"
    )
    gate = [{"name": "unit", "argv": [PYTHON, "-c", "import os; assert os.path.exists('fixed.txt')"]}]
    world.project(auditor=auditor, gate=gate)
    run = world.ended(world.start(world.plan({"phase_id": "one", "task_category": "docs"})))
    assert run.state == "DONE_SUCCESS", world.history(run)
    assert world.git("show", f"autonomous/{run.pk}:fixed.txt") == "fixed\n"
    assert list(Attempt.objects.filter(run=run).values_list("kind", "state")) == [
        ("build", AttemptState.RED), ("audit", AttemptState.DECIDED), ("audit_patch", AttemptState.MERGED),
    ]  # fmt: skip


def test_a_major_issue_ends_a_safety_critical_run(world: World) -> None:
    world.project(builder=SLOW, gate=GREEN)
    run = world.start(world.plan("one"), safety_profile="safety_critical")
    phase = Phase.objects.get(run=run)
    eventually(lambda: Attempt.objects.filter(run=run, state="RUNNING").exists())
    ports.ledger().record(phase.pk, [IssueReport("leak", "major", "probe", "security")], reporter="tests")
    assert_ended(world.ended(run), "DONE_FAILED_REQUIRES_HUMAN_REVIEW", "major-issue", world)


# -- environment ------------------------------------------------------------------------------------------


def test_a_missing_builder_command_is_the_environments_fault(world: World) -> None:
    world.project(
        builder=None, gate=GREEN, builders={"gone": {"kind": "command", "argv": ["/nowhere/builder"]}}
    )
    run = world.ended(world.start(world.plan("one")))
    assert_ended(run, "DONE_FAILED_ENVIRONMENT", "missing-command", world)


def test_a_builder_that_the_sandbox_does_not_show_costs_no_attempt_and_is_named(world: World) -> None:
    program = world.folder / "hidden.py"
    program.write_text("")
    world.project(
        builder=None, gate=GREEN, builders={"mine": {"kind": "command", "argv": [PYTHON, str(program)]}}
    )
    run = world.ended(world.start(world.plan("one")))
    assert_ended(run, "DONE_FAILED_ENVIRONMENT", "hidden-path", world)
    assert f"add {world.folder} to `toolchains`" in str(run.failure_reason)
    assert Phase.objects.get(run=run).builder_attempts == 0


def test_a_broken_repository_is_the_environments_fault(world: World) -> None:
    world.project(gate=GREEN)
    shutil.rmtree(world.repo / ".git")
    run = world.ended(world.start(world.plan("one")))
    assert run.state == "DONE_FAILED_ENVIRONMENT", world.history(run)
    incident(run)


def test_a_gate_that_can_not_run_is_the_environments_fault_and_costs_no_attempt(world: World) -> None:
    world.project(gate=[{"name": "unit", "argv": ["/nowhere/test-runner"]}])
    run = world.ended(world.start(world.plan("one")))
    assert_ended(run, "DONE_FAILED_ENVIRONMENT", "gate-infrastructure", world)
    assert Phase.objects.get(run=run).builder_attempts == 0


def test_a_phase_that_nobody_claims_ends_at_its_deadline(world: World) -> None:
    world.project(builder=None, gate=GREEN)
    run = world.start(world.plan("one"))
    eventually(lambda: Phase.objects.filter(run=run, ready_at__isnull=False).exists())
    Phase.objects.filter(run=run).update(claim_deadline_at=timezone.now() - timedelta(seconds=1))
    assert_ended(world.ended(run), "DONE_FAILED_ENVIRONMENT", "claim-deadline", world)


# -- the operator, and agents that give nothing -----------------------------------------------------------


def test_an_operators_cancel_ends_the_run_and_its_agent(world: World) -> None:
    mark = f"forked-by-{world.key}"
    world.project(builder=FORKS.format(mark=mark), gate=GREEN)
    run = world.start(world.plan("one", "two"))
    eventually(lambda: processes_with(mark), what="no agent started")
    services.cancel_run(run.pk, by="operator", why="changed my mind")
    ended = world.ended(run)
    assert_ended(ended, "DONE_CANCELLED", "cancelled", world)
    assert dict(ended.phases.values_list("phase_id", "state")) == {"one": "FAILED", "two": "SKIPPED"}
    eventually(lambda: not processes_with(mark), timeout_s=30, what=lambda: str(processes_with(mark)))


def test_a_builder_that_changes_nothing_fails_the_phase(world: World) -> None:
    world.project(builder="answer(status='success')", gate=GREEN)
    run = world.ended(world.start(world.plan({"phase_id": "one", "task_category": "docs"})))
    assert_ended(run, "DONE_FAILED_REQUIRES_HUMAN_REVIEW", "empty-patch", world)


def test_a_builder_over_its_time_is_killed_with_what_it_forked(world: World) -> None:
    mark = f"forked-by-{world.key}"
    argv = world.program("forker", FORKS.format(mark=mark))
    world.project(
        builder=None, gate=GREEN, builders={"forker": {"kind": "command", "argv": argv, "timeout_s": 2}}
    )
    run = world.start(world.plan({"phase_id": "one", "task_category": "docs"}))
    eventually(lambda: processes_with(mark), what="no agent started")
    run = world.ended(run)
    assert processes_with(mark) == []  # its attempt has ended: nothing of it may be left
    assert_ended(run, "DONE_FAILED_REQUIRES_HUMAN_REVIEW", "builder-timeout", world)
    assert Attempt.objects.filter(run=run, tokens_used=None).count() == 2  # unknown, never 0


def test_a_profile_without_steps_is_a_recorded_waiver(world: World) -> None:
    world.project()
    run = world.ended(world.start(world.plan("one")))
    assert run.state == "DONE_SUCCESS", world.history(run)
    assert list(GateRun.objects.filter(run=run).values_list("verdict", flat=True)) == ["waived"]


def test_each_try_of_a_gate_has_a_fresh_checkout(world: World) -> None:
    """A step that is green as soon as it finds what its first try has left is red in every try."""
    step = [{"name": "unit", "argv": ["/bin/sh", "-c", "test -e leftover || { touch leftover; exit 1; }"]}]
    world.project(gate=step)
    run = world.ended(world.start(world.plan({"phase_id": "one", "task_category": "docs"})))
    assert run.state == "DONE_FAILED_GATE", world.history(run)
    gates = list(GateRun.objects.filter(run=run))
    assert {gate.verdict for gate in gates} == {"red"}
    assert [len(gate.evidence["tries"]) for gate in gates] == [2] * len(gates)


def test_red_then_green_twice_is_recorded_as_flaky(world: World) -> None:
    """The step asks a server of the test's, which says red once: a checkout keeps nothing between tries."""
    asked: list[str] = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(500 if len(asked) == 1 else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with socketserver.TCPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ask = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{server.server_address[1]}/')"
        step = {"name": "unit", "argv": [PYTHON, "-c", ask]}
        world.project(gates={"profiles": {"normal": [step]}, "limits": {"network": True}})
        run = world.ended(world.start(world.plan("one")))
        server.shutdown()
    assert run.state == "DONE_SUCCESS", world.history(run)
    gate = GateRun.objects.get(run=run)
    assert gate.verdict == "flaky"
    assert [row["verdict"] for row in gate.evidence["tries"]] == ["red", "green", "green"]
    assert len(asked) == 3
