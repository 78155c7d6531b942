"""Measuring: floor and ours in turn, the median of the passes, always as a ratio within one run.

A shared machine is noisy and its noise is slow: what alternates call by call suffers it alike, so that a ratio
holds where milliseconds don't.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Call = Callable[[int], object]
Samples = tuple[Sequence[float], Sequence[float]]  # seconds: the floor's, ours


@dataclass(frozen=True)
class Row:
    """One line of the results. Times in milliseconds; `passes` are the ratios that `ratio` is the median of."""

    name: str
    floor_ms: float
    ours_ms: float
    ratio: float
    passes: list[float]
    aim: str
    extra: dict[str, float] = field(default_factory=dict)


def seconds(call: Call, number: int) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    call(number)
    return time.perf_counter() - started


def alternating(floor: Call, ours: Call, rounds: range) -> Samples:
    """Call both in turn, a round each, and return what each call took; who is first changes each round."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in rounds:
        for side in (0, 1) if number % 2 else (1, 0):
            spent[side].append(seconds((floor, ours)[side], number))
    return spent


def row(name: str, passes: Sequence[Samples], *, aim: str, extra: dict[str, float] | None = None) -> Row:
    """Return the line of a benchmark: medians of the passes' medians, and the median of their ratios."""
    floors = [statistics.median(floor) for floor, _ours in passes]
    ours = [statistics.median(own) for _floor, own in passes]
    ratios = [own / floor for floor, own in zip(floors, ours, strict=True)]
    return Row(
        name=name,
        floor_ms=round(statistics.median(floors) * 1e3, 2),
        ours_ms=round(statistics.median(ours) * 1e3, 2),
        ratio=round(statistics.median(ratios), 2),
        passes=[round(ratio, 2) for ratio in ratios],
        aim=aim,
        extra=extra or {},
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def machine() -> str:
    """Return the machine in one line: processors, memory, load, kernel and Python."""
    memory = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory = int(line.split()[1]) // 1024
    load = os.getloadavg()[1]
    return (
        f"{os.cpu_count()} processors, {memory} MiB, load {load:.1f} over 5 minutes, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )
