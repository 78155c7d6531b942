"""Which of two values of a strategy is the stricter: one order a field, as a table.

Rules are joined by it: the strictest value wins, whoever says it and in whatever order, so that a rule never loosens
what another says. `join` is associative, commutative and idempotent for every field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from strategy.defaults import COMPLEXITIES, GENERAL_REVIEW
from strategy.limits import smaller


@dataclass(frozen=True, slots=True)
class Order:
    """The order of one field.

    `join` returns the stricter of two values, or what is as strict as both; `laxest` is the value that restricts
    nothing (None where there is none but the absence of a rule); `words` says which value is the stricter.
    """

    join: Callable[[Any, Any], Any]
    laxest: Any
    words: str

    def covers(self, value: Any, other: Any) -> bool:
        """Tell whether value is at least as strict as other."""
        return bool(self.join(value, other) == value)


def _limit(first: Any, second: Any) -> Any:
    """Join two limits, of which None is no limit."""
    if first is None or second is None:
        return second if first is None else first
    return smaller(first, second)


def _allowed(first: dict[str, bool], second: dict[str, bool]) -> dict[str, bool]:
    names = sorted(first.keys() | second.keys())
    return {name: first.get(name, True) and second.get(name, True) for name in names}


def _union(first: Sequence[str], second: Sequence[str]) -> list[str]:
    return sorted({*first, *second})


def _steps(*laxest_first: str) -> Order:
    def join(first: Any, second: Any) -> Any:
        return max(first, second, key=laxest_first.index)

    return Order(join, laxest_first[0], " < ".join(laxest_first))


SMALLER = Order(smaller, None, "the smaller is stricter")
LIMIT = Order(_limit, None, "the smaller is stricter; none is no limit")
NO = Order(lambda first, second: first and second, True, "false is stricter")
LARGER = Order(max, 0, "the larger is stricter")
ALL = Order(_union, None, "all that any rule lists")

PHASE_ORDERS: dict[str, Order] = {
    "complexity": _steps(*COMPLEXITIES),
    "ci_profile": _steps("normal", "strict"),
    "max_builder_attempts": SMALLER,
    "max_auditor_attempts": SMALLER,
    "incident_token_cap": SMALLER,
    "max_attempt_tokens": SMALLER,
    "ci_max_retries": SMALLER,
    "audit_after_failures": SMALLER,
    "auto_apply": NO,
    "max_diff_lines": LIMIT,
    "max_turns": LIMIT,
    "build_token_cap": LIMIT,
    "audit_token_cap": LIMIT,
    "incident_cost_cap_usd": LIMIT,
    "max_attempt_cost_usd": LIMIT,
    "allow": Order(_allowed, None, "what any rule forbids is forbidden"),
    "tier_token_cap_multiplier": SMALLER,
    "tier_ci_run_cap_multiplier": SMALLER,
    "tier_max_minor_issues_multiplier": SMALLER,
    "tier_max_major_issues_tolerated": SMALLER,
    "on_phase_failure": _steps("continue", "stop"),
    "default_severity": _steps("minor", "major"),
}
"""What a rule may set of a phase; `auditor_profile` besides, whose order is the ruleset's (`profile_order`)."""

RUN_ORDERS: dict[str, Order] = {
    "run_scope": _steps("multi_tier", "single_tier"),
    "run_token_cap": SMALLER,
    "run_build_token_cap": LIMIT,
    "run_audit_token_cap": LIMIT,
    "run_cost_cap_usd": LIMIT,
    "run_max_phases": SMALLER,
    "run_max_duration_minutes": SMALLER,
    "run_max_minor_issues_total": SMALLER,
    "minor_issue_aging_runs_threshold": SMALLER,
    "minor_issue_aging_tiers_threshold": SMALLER,
    "protected_paths": ALL,
    "severity_upgrades": ALL,
    "debt_aged_issue_limit": SMALLER,
    "debt_max_phases": LARGER,
}
"""What a rule may set of a run: it holds for the run when the rule matches one of its phases.

Of debt cleanup that is stricter by which more is cleaned up: a rule that lowered the number of cleanup phases would
undo what another one asks for. What they cost is bounded by the caps.
"""

BY_DIFF_SIZE = frozenset({"ci_profile", "auto_apply", "auditor_profile"})
"""What can still be set when the patch has arrived, by a rule on the size of its diff."""


def profile_order(names: Sequence[str]) -> Order:
    """Return the order of auditor profiles: none, the general review, any not listed, then those listed.

    Profiles of equal rank are ordered by name, so that there is always one outcome.
    """
    listed = {name: index for index, name in enumerate(names)}

    def rank(profile: str | None) -> tuple[int, str]:
        if profile is None:
            return (0, "")
        if profile == GENERAL_REVIEW:
            return (1, "")
        return (3 + listed[profile], "") if profile in listed else (2, profile)

    def join(first: Any, second: Any) -> Any:
        return max(first, second, key=rank)

    return Order(join, None, "the later in auditor_profile_order")


def orders(profiles: Sequence[str]) -> dict[str, Order]:
    """Return the order of every field that a rule may set."""
    return {**PHASE_ORDERS, "auditor_profile": profile_order(profiles), **RUN_ORDERS}
