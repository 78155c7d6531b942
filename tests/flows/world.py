"""What a flow test works on: a real repository, a project with agents that are real programs, runs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from runs import services
from runs.models import Run, Transition
from strategy.models import Project
from strategy.services import add_project, add_ruleset
from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec
from tests.flows.stack import Stack, eventually

PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
PREAMBLE = """\
import json, os, pathlib, sys, time
brief = json.load(open(os.environ["AUTOPACK_BRIEF"]))
phase = brief["phase"]["phase_id"]
def answer(**values):
    pathlib.Path(os.environ["AUTOPACK_RESULT"]).write_text(json.dumps(values))
"""
WRITER = """
pathlib.Path(f"{phase}.txt").write_text(f"work of {phase}\\n")
answer(status="success", tokens_used=10)
"""


class World:
    """One test's repository and project. Names are unique, so that tests share a database and workers."""

    def __init__(self, stack: Stack, folder: Path, name: str) -> None:
        self.stack = stack
        self.folder = folder
        self.key = "p" + hashlib.sha256(f"{folder}{name}".encode()).hexdigest()[:10]
        self.repo = folder / "repo"
        self.repo.mkdir()
        self.git("init", "-q", "-b", "main")
        (self.repo / "README").write_text("a project\n")
        self.git("add", "-A")
        self.git("-c", "user.name=dev", "-c", "user.email=dev@example.org", "commit", "-qm", "start")
        self.base = self.git("rev-parse", "HEAD").strip()
        self.agents: dict[str, Path] = {}

    def git(self, *args: str) -> str:
        """Run plain git in the user's repository."""
        done = subprocess.run(
            ["git", "-C", str(self.repo), *args], check=True, capture_output=True, text=True
        )
        return done.stdout

    def program(self, name: str, body: str) -> list[str]:
        """Write an agent's program; return its argv."""
        path = self.folder / f"{name}.py"
        path.write_text(PREAMBLE + textwrap.dedent(body))
        path.chmod(0o755)
        self.agents[name] = path
        return [PYTHON, str(path)]

    def project(
        self,
        *,
        builder: str | None = WRITER,
        auditor: str | None = None,
        gate: list[dict[str, Any]] | None = None,
        ruleset: dict[str, Any] | None = None,
        **config: Any,
    ) -> Project:
        """Add the project: a command builder and auditor from programs' bodies, gate steps for both profiles."""
        document: dict[str, Any] = {**config}
        if builder is not None:
            document["builders"] = {
                "writer": {"kind": "command", "argv": self.program("writer", builder), "timeout_s": 60}
            }
        if auditor is not None:
            document["auditors"] = {
                "reviewer": {"kind": "command", "argv": self.program("reviewer", auditor), "timeout_s": 60}
            }
        if gate is not None:
            document["gates"] = {"profiles": {"normal": gate, "strict": gate}}
        document["toolchains"] = [str(path) for path in self.agents.values()]
        project = add_project(
            self.key,
            name=self.key,
            source=str(self.repo),
            config_text=yaml.safe_dump(document),
            is_default=False,
            by="tests",
        )
        if ruleset:
            self.amend(project, **ruleset)
        return project

    def amend(self, project: Project, **ruleset: Any) -> None:
        """Put a ruleset in force that differs in these parts."""
        assert project.ruleset is not None
        add_ruleset(project, {**project.ruleset.document, **ruleset}, "tests")

    def plan(self, *phases: dict[str, Any] | str, tiers: int = 1) -> Plan:
        """Return a plan; a phase is its id, or fields of PhaseSpec. The tier is `t1` unless it says another."""
        specs = []
        for index, row in enumerate(phases):
            fields = {"phase_id": row} if isinstance(row, str) else dict(row)
            fields.setdefault("tier_id", "t1")
            fields.setdefault("name", fields["phase_id"])
            fields.setdefault("task_category", "feature_scaffolding")
            specs.append(PhaseSpec(phase_index=index, **fields))
        return Plan(
            tuple(TierSpec(f"t{number}", number, f"Tier {number}") for number in range(1, tiers + 1)),
            tuple(specs),
        )

    def start(self, plan: Plan, *, run_id: str | None = None, **options: Any) -> Run:
        """Start a run of the project."""
        name = run_id or f"run-{self.key}"
        return services.start_run(
            name, project_id=self.key, plan=plan, options=RunOptions(**options), by="tests"
        )

    def ended(self, run: Run, *, timeout_s: float = 60.0) -> Run:
        """Wait for the run's end and return it; say where it stood when it did not end."""

        def look() -> Run | None:
            fresh = Run.objects.get(pk=run.pk)
            return fresh if fresh.is_terminal else None

        try:
            found: Run = eventually(look, timeout_s=timeout_s)
        except AssertionError:
            raise AssertionError(f"run {run.pk} did not end:\n{self.history(run)}") from None
        return found

    def history(self, run: Run) -> str:
        """Return the run's events, a line each."""
        rows = Transition.objects.filter(run=run).order_by("id")
        return "\n".join(
            f"{row.at:%H:%M:%S.%f} {row.machine} {row.subject}: {row.from_state} -> {row.to_state}"
            f" {row.event} {row.why[:200]}"
            for row in rows
        )

    def commits(self, run: Run) -> list[str]:
        """Return the subjects of the run's branch in the user's repository above the base, oldest first."""
        if not self.git("branch", "--list", f"autonomous/{run.pk}").strip():
            return []  # nothing landed, so nothing was pushed
        return self.git("log", "--reverse", "--format=%s", f"{self.base}..autonomous/{run.pk}").splitlines()
