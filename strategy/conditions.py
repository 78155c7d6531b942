"""A ruleset's rules: when each holds, and what it sets. Pure.

Every condition of a rule must hold; within one, any of its values will do. Conditions look at what the plan, the
request and the backlog say, never at what another rule has set: so the order of rules can't matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strategy.overlap import may_touch
from strategy.strictness import RUN_ORDERS

BACKLOG_COUNTS = ("open_at_least", "aged_at_least", "major_at_least")


@dataclass(frozen=True, slots=True)
class PhaseFacts:
    """What rules may ask of a phase: its canonical category, its complexity before any rule, its scope."""

    category: str
    complexity: str
    scope: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What rules may ask of a run: its safety profile, and counts of the project's live backlog entries."""

    safety_profile: str
    open_issues: int = 0
    aged_issues: int = 0
    major_issues: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. A condition that is None is not made; `diff_lines` is known only when a patch has arrived."""

    rule_id: str
    values: Mapping[str, Any]
    categories: frozenset[str] | None = None
    complexities: frozenset[str] | None = None
    paths: tuple[str, ...] | None = None
    safety_profiles: frozenset[str] | None = None
    backlog: tuple[tuple[str, int], ...] = ()
    diff_lines: int | None = None

    @property
    def asks_of_phases(self) -> bool:
        """Tell whether a condition is about phases."""
        return any(part is not None for part in (self.categories, self.complexities, self.paths))

    @property
    def run_values(self) -> dict[str, Any]:
        """Return what it sets of the run."""
        return {name: value for name, value in self.values.items() if name in RUN_ORDERS}

    @property
    def phase_values(self) -> dict[str, Any]:
        """Return what it sets of the phases that it matches."""
        return {name: value for name, value in self.values.items() if name not in RUN_ORDERS}

    def holds_in(self, run: RunFacts) -> bool:
        """Tell whether its conditions on the run hold."""
        if self.safety_profiles is not None and run.safety_profile not in self.safety_profiles:
            return False
        counts = {
            "open_at_least": run.open_issues,
            "aged_at_least": run.aged_issues,
            "major_at_least": run.major_issues,
        }
        return all(counts[name] >= least for name, least in self.backlog)

    def matches(self, phase: PhaseFacts) -> bool:
        """Tell whether its conditions on phases hold."""
        return (
            (self.categories is None or phase.category in self.categories)
            and (self.complexities is None or phase.complexity in self.complexities)
            and (self.paths is None or may_touch(phase.scope, self.paths))
        )
