"""Charts as geometry: what a template draws as SVG, with the numbers beside it as a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 10, 24
MAX_LABELS = 8
LABEL_WIDTH = 50
RULES = 4


@dataclass(frozen=True)
class Shape:
    """A rectangle with a style and a title."""

    x: float
    y: float
    width: float
    height: float
    style: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A text at a place."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One chart. `table` rows have a label and one text a series; `note` says what is counted."""

    title: str
    note: str
    head: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]
    shapes: tuple[Shape, ...] = ()
    lines: tuple[tuple[str, str], ...] = ()
    below: tuple[Mark, ...] = ()
    beside: tuple[Mark, ...] = ()
    legend: tuple[tuple[str, str], ...] = field(default=())
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to draw."""
        return not self.table

    @property
    def floor(self) -> float:
        """Return where the axis lies."""
        return self.height - BOTTOM

    @property
    def left(self) -> int:
        """Return where the drawing begins."""
        return LEFT

    @property
    def right(self) -> int:
        """Return where it ends."""
        return self.width - RIGHT


Series = Sequence[tuple[str, Sequence[float]]]


def bars(title: str, labels: Sequence[str], series: Series, *, note: str, unit: str = "") -> Chart:
    """Return stacked bars, one a label; each series has as many values as there are labels."""
    totals = [sum(values) for values in zip(*(values for _, values in series), strict=True)]
    top = nice(max(totals, default=0.0))
    slot = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)
    thick = min(slot * 0.8, 36.0)
    shapes: list[Shape] = []
    for index, label in enumerate(labels):
        base = 0.0
        for number, (name, values) in enumerate(series, start=1):
            if values[index]:
                low, high = _y(base, top), _y(base + values[index], top)
                told = f"{label}: {amount(values[index])}{unit} {name}".strip()
                x = LEFT + slot * index + (slot - thick) / 2
                shapes.append(
                    Shape(
                        round(x, 1), round(high, 1), round(thick, 1), round(low - high, 1), f"s{number}", told
                    )
                )
            base += values[index]
    return Chart(
        title=title,
        note=note,
        head=("", *(name for name, _ in series)),
        table=_table(labels, series, unit),
        shapes=tuple(shapes),
        below=_labels(labels, slot),
        beside=_rules(top, unit),
        legend=_legend(series),
    )


def line(title: str, labels: Sequence[str], series: Series, *, note: str, unit: str = "") -> Chart:
    """Return one line a series through its values, from the left edge to the right."""
    top = nice(max((value for _, values in series for value in values), default=0.0))
    span = WIDTH - LEFT - RIGHT
    step = span / max(len(labels) - 1, 1)
    lines = []
    for number, (_, values) in enumerate(series, start=1):
        points = [(LEFT + step * index, _y(value, top)) for index, value in enumerate(values)]
        if len(points) == 1:
            points.append((LEFT + span, points[0][1]))
        lines.append((" ".join(f"{x:.1f},{y:.1f}" for x, y in points), f"l{number}"))
    return Chart(
        title=title,
        note=note,
        head=("", *(name for name, _ in series)),
        table=_table(labels, series, unit),
        lines=tuple(lines),
        below=_labels(labels, step, centred=False),
        beside=_rules(top, unit),
        legend=_legend(series),
    )


def nice(value: float) -> float:
    """Return a round number at or above value, so that the rules have round numbers; 1 at least."""
    if value <= 0:
        return 1.0
    power = 10.0 ** len(str(int(value))) / 10
    return (
        next(factor * power for factor in (1, 2, 4, 5, 10) if factor * power >= value) if value >= 1 else 1.0
    )


def amount(value: float) -> str:
    """Return a number as people read it: parted thousands, one decimal where it has any."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def short(value: float) -> str:
    """Return a number for an axis: 1.5k, 2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _y(value: float, top: float) -> float:
    floor = HEIGHT - BOTTOM
    return floor - (floor - TOP) * value / top


def _labels(labels: Sequence[str], slot: float, *, centred: bool = True) -> tuple[Mark, ...]:
    every = -(-len(labels) // MAX_LABELS) or 1
    return tuple(
        Mark(round(LEFT + slot * (index + (0.5 if centred else 0)), 1), HEIGHT - 8, labels[index])
        for index in range(0, len(labels), every)
        if centred or slot * index <= WIDTH - LEFT - RIGHT - LABEL_WIDTH
    )


def _rules(top: float, unit: str) -> tuple[Mark, ...]:
    values = (top * number / RULES for number in range(1, RULES + 1))
    return tuple(Mark(LEFT, round(_y(value, top), 1), short(value) + unit) for value in values)


def _table(labels: Sequence[str], series: Series, unit: str) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (label, *(amount(values[index]) + unit for _, values in series)) for index, label in enumerate(labels)
    )


def _legend(series: Series) -> tuple[tuple[str, str], ...]:
    if len(series) < 2:
        return ()
    return tuple((f"s{number}", name) for number, (name, _) in enumerate(series, start=1))
