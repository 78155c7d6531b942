"""Severities: which is worse, what a category counts as at least, and how counts of distinct keys move.

Pure: values in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from strategy.rules import canonical_category

MINOR = "minor"
MAJOR = "major"


def worst(*severities: str) -> str:
    """Return the highest of the severities; one that is neither is major: unknown isn't harmless."""
    return MINOR if all(severity == MINOR for severity in severities) else MAJOR


@dataclass(frozen=True, slots=True)
class SeverityRules:
    """What issue categories count as at least: `major` holds canonical names."""

    major: frozenset[str]
    category_map: Mapping[str, str]

    def floor(self, category: str) -> str:
        """Return the least that an issue of the category counts as."""
        return MAJOR if canonical_category(category, self.category_map) in self.major else MINOR


def severity_rules(
    upgrades: Iterable[str], rows: Mapping[str, Mapping[str, Any]], category_map: Mapping[str, str]
) -> SeverityRules:
    """Read the rules out of a strategy's `severity_upgrades` and `category_strategies`."""
    upgraded = {canonical_category(name, category_map) for name in upgrades}
    by_default = {name for name, row in rows.items() if row.get("default_severity") == MAJOR}
    return SeverityRules(frozenset(upgraded | by_default), category_map)


def count_change(before: str | None, after: str | None) -> tuple[int, int]:
    """Return how (minor, major) counts of distinct keys move; None is a key that is not counted."""
    minor = (after == MINOR) - (before == MINOR)
    major = (after == MAJOR) - (before == MAJOR)
    return minor, major
