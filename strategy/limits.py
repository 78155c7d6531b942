"""How limits are written: a number, `unlimited`, or null, which is the default. 0 is zero.

Only what is known by an agent's own word (tokens, money, turns) and the size of a patch can be unlimited. Minutes,
phases, attempts, gate runs and issues always have a number: they end a run whose agents don't say what they use.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

UNLIMITED = "unlimited"
MICRO = 1_000_000
LEAST_ATTEMPT_TOKENS = 1_000
"""An attempt with fewer tokens can't read its brief."""

OPTIONAL = ("max_diff_lines", "max_turns", "build_token_cap", "audit_token_cap", "incident_cost_cap_usd")
"""Limits of a phase whose published default is unlimited: absent from a strategy that does not limit them."""
OPTIONAL_OF_RUN = ("run_build_token_cap", "run_audit_token_cap", "run_cost_cap_usd")
"""The same of a run."""
NULL_IS_DEFAULT = frozenset(
    {
        *OPTIONAL, *OPTIONAL_OF_RUN, "incident_token_cap", "max_builder_attempts", "max_auditor_attempts",
        "ci_max_retries", "tier_token_cap_multiplier", "tier_ci_run_cap_multiplier",
        "tier_max_minor_issues_multiplier", "tier_max_major_issues_tolerated", "run_token_cap", "run_max_phases",
        "run_max_duration_minutes",
    }
)  # fmt: skip
"""Keys of a ruleset and of its rows that may be null."""


def without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return row without the limits that are null: they are inherited."""
    return {key: value for key, value in row.items() if value is not None or key not in NULL_IS_DEFAULT}


def optional(value: Any) -> Any:
    """Return a limit that is absent where nothing limits: None for `unlimited`."""
    return None if value == UNLIMITED else value


def cap_of(value: Any) -> int | None:
    """Return a written cap as a number; None where there is none or it is unlimited."""
    return None if value is None or value == UNLIMITED else int(value)


def written(cap: int | None) -> int | str:
    """Return a cap as it is written; None is unlimited."""
    return UNLIMITED if cap is None else cap


def smaller(first: Any, second: Any) -> Any:
    """Return the smaller of two written caps."""
    if first == UNLIMITED or second == UNLIMITED:
        return second if first == UNLIMITED else first
    return min(first, second)


def micro_usd(value: Any) -> int | None:
    """Return written dollars as millionths, what is less than one given up; None where there is no cap."""
    return None if value is None or value == UNLIMITED else int(Decimal(str(value)) * MICRO)


def usd(micro: int) -> int | float:
    """Return millionths as dollars, whole ones as an integer, as canonical JSON has them."""
    return micro // MICRO if micro % MICRO == 0 else micro / MICRO


def dollars(micro: int | None) -> float | None:
    """Return millionths as dollars; None stays None."""
    return None if micro is None else micro / MICRO


def exact(multiplier: int | float) -> Fraction:
    """Return the decimal that a document shows, not its nearest double: 10 x 0.1 is 1."""
    return Fraction(str(multiplier))
