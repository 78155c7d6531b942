"""What plans and agents write can't act in the documents that show it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from autopack_site.kernel.visible import visible
from integration.artefacts.text import (
    block,
    code,
    iso,
    json_bytes,
    json_line,
    json_object_parts,
    json_rows_bytes,
    markdown,
    table,
)
from tests.integration.artefacts.builders import START

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = [
    "# A heading\n\n## another",
    "[click](https://evil.example) ![x](https://evil.example/x.png) <https://evil.example>",
    "https://evil.example www.evil.example a@evil.example",
    "<script>alert(1)</script> <!-- hidden --> &lt;b&gt;",
    "`code` ``more`` ```` ```",
    "```\n# out of the fence\n~~~\n````\n",
    "| a | b |\n|---|---|\n| \\| | \\\\| |",
    "\\` \\",
    "* [ ] item\n> quote\n\n---\n\n[ref]: https://evil.example",
    " leading and trailing ",
    "`",
    "``",
    "a\x1b[31mred\x07\x00\x7f\u202egpj.exe\u2066\u200b\ufeff\u2028\u2029\x85\xad",
    "\U000e0041\U000f0000",
]


def tokens_of(document: bytes) -> list[str]:
    """The kinds of every block and inline token of a document."""
    kinds: list[str] = []
    for token in MARKDOWN.parse(document.decode()):
        kinds.append(token.type)
        kinds += [child.type for child in token.children or []]
    return kinds


def texts_of(document: bytes, kind: str) -> list[str]:
    """The contents of all tokens of a kind."""
    tokens = MARKDOWN.parse(document.decode())
    flat = [inner for token in tokens for inner in (token, *(token.children or []))]
    return [token.content for token in flat if token.type == kind]


def assert_is_inert(text: str) -> None:
    """Check that text adds no structure: the document has exactly the tokens of a harmless one."""
    document = markdown("# Run", table(("A", "B"), [(code(text), 1)]), f"- {code(text)}", block(text), "End.")
    harmless = markdown("# Run", table(("A", "B"), [("`x`", 1)]), "- `x`", block("x"), "End.")
    if code(text) == "-":
        harmless = markdown("# Run", table(("A", "B"), [("-", 1)]), "- -", block("x"), "End.")
    assert tokens_of(document) == tokens_of(harmless)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_structure_to_a_document(text: str) -> None:
    assert_is_inert(text)


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet=st.sampled_from("`#|\\[]()<>!*_~-:/. \n\r\tax\u202e\x1b&;"), max_size=60))
def test_no_mixture_of_special_characters_adds_structure(text: str) -> None:
    assert_is_inert(text)


@pytest.mark.parametrize("text", ["`", "a``b", "```x```", "plain", "\\`"])
def test_a_code_span_shows_the_text_itself(text: str) -> None:
    assert texts_of(markdown(code(text)), "code_inline") == [text]


@pytest.mark.parametrize("text", ["```\n# x\n```\n", "~~~\n", "    indented\n", "a\n\n\nb\n"])
def test_a_block_shows_the_text_itself(text: str) -> None:
    assert texts_of(markdown(block(text)), "fence") == [text]


def test_what_a_terminal_would_obey_is_shown_as_an_escape() -> None:
    assert visible("a\x1b[31m\u202eb\u200bc\x00\r\nd\te\U000e0041é→") == (
        "a\\x1b[31m\\u202eb\\u200bc\\x00\nd\te\\U000e0041é→"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_no_unseen_character_reaches_a_file(text: str) -> None:
    everything = markdown(code(text), block(text)) + json_bytes({text: [text]}) + json_line(text)
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]",
                      everything.decode()) == []  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_json_reads_back_as_what_it_was(text: str) -> None:
    assert json.loads(json_bytes({"k": text})) == {"k": text}
    assert json.loads(json_line([text])) == [text]
    assert json_line(text).count(b"\n") == 1


def test_json_has_one_form_whatever_the_order_of_keys() -> None:
    assert json_bytes({"b": 1, "a": 2}) == json_bytes({"a": 2, "b": 1}) == b'{\n  "a": 2,\n  "b": 1\n}\n'


@pytest.mark.parametrize("items", [{}, [], {"k": {"a": 1}, "b\n": [2]}, [{"z": "\u202e", "a": "ghp_"}]])
def test_an_item_a_line_is_the_same_json(items: Any) -> None:
    data = json_rows_bytes({"z": 1, "items": items, "a": None}, "items")
    assert json.loads(data) == {"z": 1, "items": items, "a": None}
    assert data.count(b"\n") == 5 + (len(items) + 1 if items else 0)


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("items", [{}, {"k": {"a": 1}, "b\n": [2], "c": "\u202e"}])
def test_an_object_in_parts_is_the_same_json(items: dict[str, Any], size: int) -> None:
    keys = sorted(items)
    pages = [{key: items[key] for key in keys[at : at + size]} for at in range(0, len(keys), size)]
    parts = json_object_parts({"z": 1, "a": None}, "items", pages)
    assert b"".join(parts) == json_rows_bytes({"z": 1, "items": items, "a": None}, "items")
    alone = b"".join(json_object_parts({}, "items", pages))
    assert alone == json_rows_bytes({"items": items}, "items")


def test_keys_that_redaction_makes_equal_stay_apart_on_any_page() -> None:
    token = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"
    pages = [{f"{token[:-1]}{digit}": digit} for digit in "123"]
    found = json.loads(b"".join(json_object_parts({}, "items", pages)))["items"]
    assert sorted(found.values()) == ["1", "2", "3"]
    assert token[:-1] not in str(found)


def test_long_texts_are_cut_and_say_so() -> None:
    assert code("x" * 400) == "`" + "x" * 300 + "…`"
    assert block("y" * 20_007).endswith("y\n[... 7 characters left out ...]\n```\n")


def test_nothing_is_a_dash() -> None:
    assert [code(None), code(""), code(" \n\t"), code(0), code(False)] == ["-", "-", "-", "`0`", "`False`"]


def test_times_are_utc_with_z() -> None:
    assert iso(START) == "2026-01-02T03:04:05.678901Z"
    assert iso(None) is None
