"""Operators' texts: strict, bounded, and every fault with its line."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from strategy.documents import MAX_CHARS, read_text


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(Invalid) as caught:
        read_text(text)
    row = caught.value.problems[0]
    return row["type"], row["msg"].split(":")[0]


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "duplicate_key", "line 4"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", "yaml_tag", "line 2"),
        ("a: !local x\n", "yaml_tag", "line 1"),
        ("a: &x [1, *x]\n", "yaml_alias", "line 1"),
        ("a: *nothing\n", "yaml_alias", "line 1"),
        ("a: 1\n---\nb: 2\n", "yaml_invalid", "line 2"),
        ("a: [1,\nb: 2\n", "yaml_invalid", "line 3"),
        ("a: 1\n? [x]\n: 2\n", "yaml_key", "line 2"),
        ("a: " + "[" * 60 + "]" * 60, "too_deep", "line 1"),
        ('{"a": 1,\n "b": 2,\n "b": 3}', "duplicate_key", "line 3"),
        ('{"a": 1,\n "b": }', "json_invalid", "line 2"),
        ('{"a": NaN}', "json_invalid", "line 1"),
    ],
)
def test_a_fault_is_refused_with_its_line(text: str, kind: str, line: str) -> None:
    assert refusal(text) == (kind, line)


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 30)
    )
    started = time.monotonic()
    assert refusal(bomb)[0] == "too_large"
    assert time.monotonic() - started < 2


def test_an_honest_alias_is_expanded() -> None:
    assert read_text("a: &x [1, 2]\nb: *x\n").value == {"a": [1, 2], "b": [1, 2]}


def test_a_text_beyond_the_limit_is_refused() -> None:
    with pytest.raises(Invalid):
        read_text("a" * (MAX_CHARS + 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("true", True), ("null", None), ("~", None), ("12", 12), ("-3", -3),
        ("1.5", 1.5), ("1e3", 1000), ("2026-01-02", "2026-01-02"), ("12:30", "12:30"), ("0o7", "0o7"),
        ("'12'", "12"),
        ("1e999", "1e999"), ("9" * 30, "9" * 30), ("2.0", 2), (".inf", ".inf"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = read_text(f"a: {text}\n").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_lines_are_known_for_keys_and_items_in_yaml_and_json() -> None:
    for text in ("a:\n  b:\n    - 1\n    - c: 2\n", '{"a":\n\t{"b":\n\t[1,\n\t{"c": 2}]}}'):
        document = read_text(text)
        assert document.line(("a", "b", 1, "c")) == 4
        assert document.line(("a", "b", 1, "c", "beyond")) == 4
        assert document.line(()) == 1


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_a_document_or_a_typed_error(text: str) -> None:
    with contextlib.suppress(Invalid):
        document = read_text(text)
        assert document.value is None or document.line(()) is not None


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**15), 10**15)
        | st.text(st.characters(exclude_categories=["C"])),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text("abc_ :#-", min_size=1, max_size=5), inner, max_size=4)
        ),
        max_leaves=10,
    )
)
def test_what_pyyaml_and_json_write_reads_back_equal(value: object) -> None:
    wrapped = {"value": value}
    assert read_text(json.dumps(wrapped)).value == wrapped
    assert read_text(json.dumps(wrapped, indent="\t")).value == wrapped
    assert read_text(yaml.safe_dump(wrapped, allow_unicode=True)).value == wrapped
