"""Whether two globs can cover one path: against paths, and against every short name."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopack_site.kernel.globs import matches
from strategy.overlap import may_touch, overlaps

NAMES = st.text("abX", min_size=1, max_size=3)
PARTS = st.one_of(NAMES, st.sampled_from(["*", "**", "a*", "*b", "?", "a?b"]))
PATTERN = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
PATH = st.lists(NAMES, min_size=1, max_size=5).map("/".join)


@settings(max_examples=500, deadline=None)
@given(PATTERN, PATTERN, PATH)
def test_globs_that_cover_one_path_overlap(first: str, second: str, path: str) -> None:
    assert overlaps(first, second) == overlaps(second, first)
    assert overlaps(first, first)
    if matches(path, first, fold=True) and matches(path, second, fold=True):
        assert overlaps(first, second)


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ("src", "src/a/b.py", True), ("src/*.py", "src/a/b.py", False), ("**/x.py", "a/b/x.py", True),
        ("a*c", "*bc", True), ("a*", "b*", False), ("docs/", "docs", True), ("*/a", "b/*", True),
        ("a?", "ab", True), ("a?", "a", False), ("**/migrations/**", "src/*/migrations/0001.py", True),
        ("src/**/x", "lib/**/x", False),
    ],
)  # fmt: skip
def test_globs_overlap_when_one_path_fits_both(first: str, second: str, meet: bool) -> None:
    assert overlaps(first, second) is meet


SHORT = ["".join(marks) for length in range(1, 7) for marks in product("ab", repeat=length)]
COMPONENT = st.text("ab?*", min_size=1, max_size=4).filter(lambda text: text != "**")


@settings(max_examples=200, deadline=None)
@given(COMPONENT, COMPONENT)
def test_components_overlap_exactly_when_a_name_fits_both(first: str, second: str) -> None:
    # a pattern of at most 4 marks that fits a name with another such fits one of 6 letters at most
    fits = any(matches(f"{name}/z", f"{first}/z") and matches(f"{name}/z", f"{second}/z") for name in SHORT)
    assert overlaps(f"{first}/z", f"{second}/z") is fits


def test_long_hostile_scopes_are_walked_in_time() -> None:
    # by pairs of characters this takes minutes
    scope = [f"{'*a' * 250}{number}" for number in range(40)]
    assert may_touch(scope, [f"{'*b' * 250}{number}" for number in range(40, 60)]) is False
    assert may_touch(scope, [f"{'*b' * 250}*"]) is True
