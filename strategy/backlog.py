"""What the rules of a run saw of its project's backlog: counts by severity and age, small enough to be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from strategy.types import BacklogItem

OLDEST = 1000  # runs, or tiers: no ruleset has a threshold above (its JSON Schema)
MOST_SEEN = 10_000  # live entries that a strategy looks at, the oldest first
MARKED = "needs_cleanup"
LIVE = frozenset({"open", "reopened", MARKED})
_Row = tuple[bool, bool, int, int, int]


def is_live(item: BacklogItem) -> bool:
    """Tell whether the entry is neither resolved nor accepted."""
    return item.status in LIVE


def is_aged(item: BacklogItem, *, runs_threshold: int, tiers_threshold: int) -> bool:
    """Tell whether the entry is past a threshold of its safety profile, and still open."""
    ages = item.age_in_runs, item.age_in_tiers
    return is_live(item) and _is_of_age(_is_marked(item), *ages, (runs_threshold, tiers_threshold))


@dataclass(frozen=True, slots=True)
class BacklogSeen:
    """How many live entries are alike: rows of (is major, is marked, age in runs, age in tiers, count), in order.

    Other thresholds than those of the day can be held against it, which names and paths would not be needed for.
    What is marked is of age by any threshold, and no threshold is above OLDEST: so a backlog of many runs, most of it
    marked, has few rows.
    """

    rows: tuple[_Row, ...] = ()

    @classmethod
    def of(cls, items: Iterable[BacklogItem]) -> BacklogSeen:
        """Count the items that are live."""
        alike = Counter(
            (item.base_severity != "minor", _is_marked(item), *_ages(item)) for item in items if is_live(item)
        )
        return cls(tuple((*key, count) for key, count in sorted(alike.items())))

    @classmethod
    def from_json(cls, rows: Sequence[Sequence[Any]]) -> BacklogSeen:
        """Read what `to_json` returned."""
        return cls(
            tuple((bool(major), bool(marked), *map(int, counts)) for major, marked, *counts in rows)  # type: ignore[misc]
        )

    def to_json(self) -> list[list[int]]:
        """Return the rows as lists of numbers."""
        return [[int(value) for value in row] for row in self.rows]

    def counts(self, thresholds: tuple[int, int]) -> tuple[int, int, int]:
        """Return (open, aged, major) entries, aged by thresholds in runs and in tiers."""
        opened = aged = majors = 0
        for is_major, is_marked, runs, tiers, count in self.rows:
            opened += count
            aged += count if _is_of_age(is_marked, runs, tiers, thresholds) else 0
            majors += count if is_major else 0
        return opened, aged, majors


def _ages(item: BacklogItem) -> tuple[int, int]:
    return (0, 0) if _is_marked(item) else (min(item.age_in_runs, OLDEST), min(item.age_in_tiers, OLDEST))


def _is_marked(item: BacklogItem) -> bool:
    return item.status == MARKED


def _is_of_age(is_marked: bool, age_in_runs: int, age_in_tiers: int, thresholds: tuple[int, int]) -> bool:
    return is_marked or age_in_runs >= thresholds[0] or age_in_tiers >= thresholds[1]
