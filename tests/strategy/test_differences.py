"""Differences between documents: by path, in order, and none where nothing differs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategy.differences import differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def told(old: Any, new: Any) -> list[tuple[str, str, Any, Any]]:
    return [(row.place, str(row.kind), row.old, row.new) for row in differences(old, new)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 2}, [("a", "changed", 1, 2)]),
        ({}, {"a": {"b": 1}}, [("a", "added", None, {"b": 1})]),
        ({"a": None}, {}, [("a", "removed", None, None)]),
        ({"a": {"b": [1, 2], "c": 0}}, {"a": {"b": [1, 3], "c": 0}}, [("a.b[1]", "changed", 2, 3)]),
        ({"a": ["x", "y"]}, {"a": ["w", "x", "y"]}, [("a[0]", "added", None, "w")]),
        ({"a": ["x", "y"]}, {"a": ["y"]}, [("a[0]", "removed", "x", None)]),
        ({"a": [{"n": 1, "k": 1}]}, {"a": [{"n": 2, "k": 1}]}, [("a[0].n", "changed", 1, 2)]),
        ({"a": 1}, {"a": True}, [("a", "changed", 1, True)]),
        ({"a": []}, {"a": {}}, [("a", "changed", [], {})]),
    ],
)  # fmt: skip
def test_each_value_that_differs_is_told_with_its_path(old: Any, new: Any, expected: list[Any]) -> None:
    assert told(old, new) == expected


def test_ignored_keys_are_ignored_at_the_top_only() -> None:
    rows = differences(
        {"version": 1, "a": {"version": 1}}, {"version": 2, "a": {"version": 2}}, ignored=["version"]
    )
    assert [row.place for row in rows] == ["a.version"]


@given(JSON)
def test_a_document_does_not_differ_from_itself(value: Any) -> None:
    assert differences(value, value) == []


@given(JSON, JSON)
def test_there_is_a_difference_exactly_when_the_documents_differ(old: Any, new: Any) -> None:
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (differences(old, new) == []) == same
