"""Cells: one series of one metric, as counters and histograms are added up from."""

from __future__ import annotations

import math
from dataclasses import dataclass

COUNTER_LE = 0.0  # a counter's only bucket
INFINITE = math.inf


@dataclass(frozen=True)
class Key:
    """Which series, and in a histogram which bucket (its upper bound, not cumulative)."""

    metric: str
    labels: tuple[str, ...]
    le: float = COUNTER_LE


@dataclass(frozen=True)
class Cell:
    """How many rows fell into a series, and the sum of what they carry."""

    key: Key
    count: int
    total: float


def added(cells: list[Cell]) -> list[Cell]:
    """Return one cell for each key, in the order in which keys first appear."""
    sums: dict[Key, tuple[int, float]] = {}
    for cell in cells:
        count, total = sums.get(cell.key, (0, 0.0))
        sums[cell.key] = count + cell.count, total + cell.total
    return [Cell(key, count, total) for key, (count, total) in sums.items()]
