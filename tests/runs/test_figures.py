"""Figures beyond others: what is booked already is taken off, and never more or less than that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.figures import PARTS, Figures

_FEW = st.none() | st.integers(0, 50)
_FIGURES = st.builds(Figures, tokens=_FEW, cost_micro_usd=_FEW, turns=_FEW, **dict.fromkeys(PARTS, _FEW))


@given(_FIGURES, _FIGURES)
def test_what_is_beyond_makes_up_the_whole(before: Figures, later: Figures) -> None:
    now, _lower = before.grown(later)
    rest = now.beyond(before)
    if now.total is None:
        assert rest.total is None
    else:
        assert rest.total == now.total - (before.total or 0)
    assert (rest.cost_micro_usd or 0) == (now.cost_micro_usd or 0) - (before.cost_micro_usd or 0)
    assert rest.is_derived


@pytest.mark.parametrize(
    ("before", "now", "rest"),
    [
        (Figures(input_tokens=60, output_tokens=40), Figures(input_tokens=60, output_tokens=45), (5, 0, 5)),
        (Figures(tokens=100), Figures(input_tokens=60, output_tokens=45), (5, None, None)),
        (Figures(), Figures(input_tokens=60), (60, 60, None)),
        (Figures(tokens=100), Figures(tokens=70), (0, None, None)),
    ],
)
def test_parts_are_told_where_they_fit_the_whole(
    before: Figures, now: Figures, rest: tuple[int | None, ...]
) -> None:
    found = now.beyond(before)
    assert (found.total, found.input_tokens, found.output_tokens) == rest
