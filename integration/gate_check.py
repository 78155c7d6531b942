"""A project's gate tried on its branch as it is, before any run: a gate that is red there is red for every patch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from integration.gate_rules import GREEN, reason_for
from integration.gate_try import run_try
from integration.repository import mirror_of
from strategy.models import Project


@dataclass(frozen=True)
class GateCheck:
    """What came of it. `verdict` is green, red, infra_failed or waived; `reason` is empty where it is green."""

    commit: str
    verdict: str
    reason: str
    evidence: dict[str, Any]


def check_gate(project: Project, *, profile: str, write: Callable[[bytes], None]) -> GateCheck:
    """Run the profile's steps once on the head of the project's branch, in the sandbox that gates get.

    Nothing is stored. `write` gets the log. Raises the errors of fetching and checking out, and SandboxRequired.
    """
    config = project.settings
    mirror = mirror_of(project)
    mirror.create()
    commit = mirror.fetch(project.source, config.default_branch)
    steps = config.gate_steps(profile)
    if not steps:
        return GateCheck(commit, "waived", f"Profile {profile} has no steps", {})
    evidence = run_try(
        mirror, commit, config, steps,
        profile=profile, number=1, ends=math.inf, write=write, should_stop=lambda: False,
    )  # fmt: skip
    verdict = evidence["verdict"]
    return GateCheck(commit, verdict, "" if verdict == GREEN else reason_for(evidence), evidence)
