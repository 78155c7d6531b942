"""Charts: what is drawn agrees with the numbers beside it."""

from __future__ import annotations

import pytest

from integration.console import charts
from integration.console.bars import Bar


def test_bars_are_stacked_in_proportion() -> None:
    chart = charts.bars("C", ["a", "b"], [("one", [10.0, 0.0]), ("two", [10.0, 5.0])], note="")
    heights = {shape.title: shape.height for shape in chart.shapes}
    assert set(heights) == {"a: 10 one", "a: 10 two", "b: 5 two"}
    assert heights["a: 10 one"] == heights["a: 10 two"] == pytest.approx(2 * heights["b: 5 two"], abs=0.2)
    lower, upper = (shape for shape in chart.shapes if shape.title.startswith("a"))
    assert upper.y + upper.height == pytest.approx(lower.y, abs=0.2)
    assert chart.table == (("a", "10", "10"), ("b", "0", "5"))


def test_everything_lies_within_the_drawing() -> None:
    chart = charts.bars("C", [str(n) for n in range(90)], [("x", [float(n) for n in range(90)])], note="")
    assert all(shape.x >= charts.LEFT and shape.x + shape.width <= charts.WIDTH for shape in chart.shapes)
    assert all(shape.y >= 0 and shape.y + shape.height <= chart.floor + 0.2 for shape in chart.shapes)
    assert len(chart.below) <= charts.MAX_LABELS


def test_a_line_goes_from_edge_to_edge() -> None:
    chart = charts.line("C", ["a", "b", "c"], [("x", [0.0, 50.0, 100.0])], note="")
    points = [point.split(",") for point in chart.lines[0][0].split()]
    assert [float(x) for x, _ in points] == [charts.LEFT, 344.0, charts.WIDTH - charts.RIGHT]
    assert float(points[0][1]) == chart.floor
    assert float(points[-1][1]) == charts.TOP


def test_one_moment_is_drawn_as_a_level_line() -> None:
    assert len(charts.line("C", ["a"], [("x", [3.0])], note="").lines[0][0].split()) == 2


@pytest.mark.parametrize(
    ("value", "round_number"),
    [(0, 1), (0.4, 1), (1, 1), (1.5, 2), (3, 4), (7, 10), (41, 50), (99, 100), (1_200_000, 2_000_000)],
)
def test_the_axis_ends_at_a_round_number_above_all(value: float, round_number: float) -> None:
    assert charts.nice(value) == round_number


def test_axis_numbers_are_short() -> None:
    assert [charts.short(value) for value in (5, 1500, 2e6, 3.5e9)] == ["5", "1.5k", "2M", "3.5G"]


@pytest.mark.parametrize(
    ("used", "cap", "width", "level"),
    [(0, 10, "0.0", ""), (5, 10, "50.0", ""), (8, 10, "80.0", "high"), (10, 10, "100.0", "high"),
     (11, 10, "100.0", "over"), (0, 0, "0.0", ""), (1, 0, "100.0", "high")],
)  # fmt: skip
def test_a_budgets_bar_shows_how_near_its_end_it_is(used: int, cap: int, width: str, level: str) -> None:
    bar = Bar("Tokens", used, cap)
    assert (bar.width, bar.level) == (width, level)
