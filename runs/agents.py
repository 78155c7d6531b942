"""Which of a project's declared agents serves a phase."""

from __future__ import annotations

from runs.models import Phase, Run
from strategy.config import AgentConfig, ProjectConfig


def config_of(run: Run) -> ProjectConfig:
    """Return the project's configuration as it was when the run started."""
    return ProjectConfig.from_json(run.config)


def agents_for(run: Run, phase: Phase, kind: str) -> tuple[AgentConfig, ...]:
    """Return the declared builders (`build`) or auditors (`audit`) that take the phase, best fit first."""
    config = config_of(run)
    if kind == "build":
        return config.builders_for(phase.task_category)
    return config.auditors_for(phase.task_category)


def serving(run: Run, phase: Phase, kind: str) -> AgentConfig | None:
    """Return the command agent that serves the phase, or None when it waits to be claimed."""
    return next((agent for agent in agents_for(run, phase, kind) if agent.kind == "command"), None)
