"""Which of a project's declared agents serves a phase."""

from __future__ import annotations

from collections.abc import Iterable

from runs.errors import CategoryNotTaken
from runs.models import Phase, Run
from strategy.config import AgentConfig, ProjectConfig
from strategy.rules import canonical_category


def config_of(run: Run) -> ProjectConfig:
    """Return the project's configuration as it was when the run started."""
    return ProjectConfig.from_json(run.config)


def agents_for(run: Run, phase: Phase, kind: str) -> tuple[AgentConfig, ...]:
    """Return the declared builders (`build`) or auditors (`audit`) that take the phase, best fit first."""
    config = config_of(run)
    if kind == "build":
        return config.builders_for(phase.task_category)
    return config.auditors_for(phase.task_category)


def serving(run: Run, phase: Phase, kind: str, *, but: str = "") -> AgentConfig | None:
    """Return the command agent that serves the phase, or None when it waits to be claimed.

    `but` names one who may not: an Auditor whose own patch is to be approved.
    """
    fit = (agent for agent in agents_for(run, phase, kind) if agent.kind == "command" and agent.name != but)
    return next(fit, None)


def taken_by(run: Run, name: str, kind: str) -> tuple[str, ...] | None:
    """Return the categories that the declared builder or auditor of this name takes, as phases hold them.

    None for one that takes all, and for one that isn't declared: its token is all that it needs.
    """
    config = config_of(run)
    declared = config.builders if kind == "build" else config.auditors
    agent = next((agent for agent in declared if agent.name == name), None)
    return canonical(agent.categories) if agent is not None else None


def canonical(categories: Iterable[str]) -> tuple[str, ...] | None:
    """Return the categories that an agent is declared for as phases hold them; None for one that takes all."""
    return tuple(canonical_category(listed, {}) for listed in categories) or None


def must_take(run: Run, phase: Phase, name: str, kind: str) -> None:
    """Raise CategoryNotTaken when the declared agent of this name does not take the phase's category."""
    taken = taken_by(run, name, kind)
    if taken is not None and phase.task_category not in taken:
        raise CategoryNotTaken(
            f"{name} takes {', '.join(taken)}; phase {phase.phase_id} is {phase.task_category}",
            task_category=phase.task_category,
        )
