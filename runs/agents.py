"""Which of a project's declared agents serves a phase."""

from __future__ import annotations

from typing import Any

from runs.models import Phase, Run


def declared(run: Run, kind: str) -> dict[str, dict[str, Any]]:
    """Return the run's builders (`build`) or auditors (`audit`) by name, in configuration order."""
    agents: dict[str, dict[str, Any]] = run.config.get("builders" if kind == "build" else "auditors") or {}
    return agents


def serves(agent: dict[str, Any], category: str) -> bool:
    """Tell whether an agent takes a category; no list means every one."""
    categories = agent.get("categories") or []
    return not categories or category in categories


def serving(run: Run, phase: Phase, kind: str) -> str | None:
    """Return the name of the command agent that serves the phase, or None when it waits to be claimed."""
    for name, agent in declared(run, kind).items():
        if agent.get("kind") == "command" and serves(agent, phase.task_category):
            return name
    return None
