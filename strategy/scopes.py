"""Named scopes: `@docs` in a phase's scope stands for the globs that the project lists under that name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from strategy.config import ProjectConfig
from strategy.types import PhaseSpec, Plan


def resolve_scopes(plan: Plan, config: ProjectConfig) -> Plan:
    """Return the plan with every @name replaced by its globs. Raises Invalid for an unknown name.

    `@types/node/**` is a path, not a name: a name has no slash.
    """
    problems: list[dict[str, Any]] = []
    phases = tuple(_resolved(phase, index, config, problems) for index, phase in enumerate(plan.phases))
    if problems:
        raise Invalid(problems)
    return Plan(plan.tiers, phases)


def is_scope_name(entry: str) -> bool:
    """Tell whether a scope's entry names one of the project's scopes."""
    return entry.startswith("@") and "/" not in entry


def _resolved(
    phase: PhaseSpec, index: int, config: ProjectConfig, problems: list[dict[str, Any]]
) -> PhaseSpec:
    globs: dict[str, None] = {}
    for place, entry in enumerate(phase.scope):
        if not is_scope_name(entry):
            globs[entry] = None
        elif entry[1:] in config.scopes:
            globs.update(dict.fromkeys(config.scopes[entry[1:]]))
        else:
            known = ", ".join(f"@{name}" for name in config.scopes) or "none"
            text = f"Phase {phase.phase_id}: the project has no scope {entry[:80]} (it has: {known})"
            problems.append(problem("unknown_scope", ["body", "phases", index, "scope", place], text))
    return replace(phase, scope=tuple(globs))
