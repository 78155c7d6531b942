"""Small builders of plans and backlogs for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from strategy.defaults import default_ruleset
from strategy.engine import compile_strategy
from strategy.types import BacklogItem, CompiledStrategy, PhaseSpec, Plan, RunOptions, TierSpec


def phase(phase_id: str, tier_id: str = "t", index: int = 0, **fields: Any) -> PhaseSpec:
    """Return a phase whose name says nothing that the classifier knows."""
    return PhaseSpec(phase_id, tier_id, index, fields.pop("name", "Step"), **fields)


def plan_of(*phases: PhaseSpec) -> Plan:
    """Return a plan with the tiers that the phases name, in order of appearance."""
    tiers = dict.fromkeys(spec.tier_id for spec in phases)
    return Plan(tuple(TierSpec(name, index, name) for index, name in enumerate(tiers)), phases)


def aged(key: str, *paths: str, **fields: Any) -> BacklogItem:
    """Return a backlog entry four runs old."""
    values = {
        "category": "docs",
        "base_severity": "minor",
        "age_in_runs": 4,
        "age_in_tiers": 0,
        "status": "open",
    }
    return BacklogItem(issue_key=key, paths=paths, **{**values, **fields})


def compiled(
    *phases: PhaseSpec,
    ruleset: dict[str, Any] | None = None,
    backlog: tuple[BacklogItem, ...] = (),
    **options: Any,
) -> CompiledStrategy:
    """Compile phases under the default ruleset, or the one given."""
    return compile_strategy(
        default_ruleset("p") if ruleset is None else ruleset,
        backlog,
        plan_of(*phases),
        run_id="r",
        project_id="p",
        options=RunOptions(**options),
    )


def row(spec: PhaseSpec, **arguments: Any) -> dict[str, Any]:
    """Return the strategy's row of the one phase."""
    found: dict[str, Any] = compiled(spec, **arguments).document["phase_strategies"][spec.phase_id]
    return found


def hash_under_two_seeds(program: str) -> set[str]:
    """Return the hashes that a program prints in two processes with different hash seeds, each a SHA-256."""
    found = printed_under_two_seeds(program)
    assert {len(one) for one in found} == {64}
    return found


def printed_under_two_seeds(program: str, *, given: str = "") -> set[str]:
    """Return what a program prints, with `given` as its input, in two processes with different hash seeds."""
    found = set()
    for seed in ("1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found.add(done.stdout.strip())
    return found
