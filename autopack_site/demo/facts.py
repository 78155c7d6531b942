"""What the demo's run came to, gathered from the database and from the project's own repository."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from autopack_site.demo.errors import DemoFailed
from autopack_site.demo.library import BRANCH, Parts, git
from integration.cells import cell
from integration.junit import BadReport, parse
from integration.models import GateRun
from integration.sandbox.collect import collect
from integration.sandbox.ownership import remove_tree
from integration.sandbox.spec import Limits
from issues.models import Issue
from runs.agents import config_of
from runs.lifecycle import RunState
from runs.models import Attempt, Run
from runs.promotion import is_eligible

LEAST_COMMITS = 5
REPORT = ".reports/clone.xml"
TESTS_LIMIT_S = 120


@dataclass
class Facts:
    """Figures and words for the summary, and for the demo's judgement of itself."""

    run: Run
    repository: Path
    commits: list[str] = field(default_factory=list)
    gates: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    issues: list[str] = field(default_factory=list)
    sandbox: str = ""
    is_promotable: bool = False
    against_promotion: list[str] = field(default_factory=list)
    clone_tests: int = 0
    clone_failures: int = 0
    clone_detail: str = ""

    def faults(self) -> list[str]:
        """Return what the demo promises and this run did not do; none is what should be."""
        found = []
        if self.run.state != RunState.DONE_SUCCESS:
            found.append(f"the run ended {self.run.state}: {self.run.failure_reason or 'no reason'}")
        if len(self.commits) < LEAST_COMMITS:
            found.append(
                f"{len(self.commits)} commits on {self.run.branch}; at least {LEAST_COMMITS} were promised"
            )
        if not self.gates.get("red"):
            found.append("no gate was red: the builder that breaks behaviour was not caught")
        if not self.verdicts.get("revise"):
            found.append("no audit asked for a revision")
        if not self.is_promotable:
            found.append("not eligible for promotion: " + "; ".join(self.against_promotion))
        if self.clone_detail or self.clone_failures or not self.clone_tests:
            found.append(
                f"in a clone of the branch {self.clone_failures} of {self.clone_tests} tests fail {self.clone_detail}"
            )
        return found


def gather(run_id: str, repository: Path, parts: Parts, scratch: Path) -> Facts:
    """Read the run's outcome, and test a clone of its branch. Raises DemoFailed when git can't be read."""
    run = Run.objects.select_related("project").get(pk=run_id)
    facts = Facts(run, repository)
    if git(repository, "branch", "--list", run.branch):
        log = git(repository, "log", "--reverse", "--format=%h %s", f"{BRANCH}..{run.branch}")
        facts.commits = log.splitlines()
        _test_clone(facts, parts, scratch)
    else:
        facts.clone_detail = f"there is no branch {run.branch}"
    for gate in GateRun.objects.filter(run=run_id).exclude(verdict=""):
        facts.gates[gate.verdict] = facts.gates.get(gate.verdict, 0) + 1
        for row in gate.evidence.get("tries", []):
            facts.sandbox = row.get("sandbox") or facts.sandbox
    for verdict in (
        run.attempts.filter(kind=Attempt.Kind.AUDIT).exclude(verdict="").values_list("verdict", flat=True)
    ):
        facts.verdicts[verdict] = facts.verdicts.get(verdict, 0) + 1
    for issue in Issue.objects.filter(phase__run=run_id).select_related("phase").order_by("issue_key"):
        facts.issues.append(f"{issue.effective_severity}  {issue.phase.phase_id}  {issue.issue_key}")
    facts.is_promotable, facts.against_promotion = is_eligible(run, list(run.tiers.all()))
    return facts


def _test_clone(facts: Facts, parts: Parts, scratch: Path) -> None:
    """Clone the branch as anybody would and run its tests, in a sandbox: builders wrote that code."""
    clone = scratch / "clone"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    output = bytearray()
    try:
        git(
            scratch, "clone", "--quiet", "--no-local", "--single-branch", "--branch", facts.run.branch,
            str(facts.repository), str(clone),
        )  # fmt: skip
        with cell(clone, toolchains=config_of(facts.run).gate_toolchains) as place:
            outcome = place.run(
                [
                    str(Path(sys.prefix) / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider",
                    "-o", "python_files=test*.py", f"--junit-xml={REPORT}", ".",
                ],
                env={
                    "PYTHONPATH": str(parts.wheel), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                network=False,
                limits=Limits(wall_s=TESTS_LIMIT_S, cpu_s=TESTS_LIMIT_S),
                on_output=output.extend,
                should_stop=lambda: False,
            )  # fmt: skip
            place.take_back()
        if not outcome.succeeded:
            facts.clone_detail = f"({outcome.reason}) {bytes(output[-400:]).decode('utf-8', 'replace')}"
        for found in collect(clone, REPORT, max_bytes=20 * 1024 * 1024):
            report = parse(found.data)
            facts.clone_tests = report.tests
            facts.clone_failures = report.failures + report.errors
    except (BadReport, DemoFailed) as error:
        facts.clone_detail = error.detail
    finally:
        remove_tree(scratch)
