"""Foreign text in a page is seen and never acts."""

from __future__ import annotations

import pytest

from integration.console.texts import marked, plain_log, shown


def test_html_is_escaped() -> None:
    assert shown("<script>alert('x')</script>&") == "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;"


@pytest.mark.parametrize(
    ("char", "seen"),
    [
        ("\u202e", "\\u202e"),  # right-to-left override
        ("\u2066", "\\u2066"),  # isolate
        ("\u200b", "\\u200b"),  # zero width space
        ("\ufeff", "\\ufeff"),
        ("\u00ad", "\\xad"),  # soft hyphen
        ("\x1b", "\\x1b"),
        ("\x00", "\\x00"),
        ("\x07", "\\x07"),
        ("\x9b", "\\x9b"),  # a control sequence's beginning in one character
        ("\u2028", "\\u2028"),
        ("\u3164", "\\u3164"),  # a letter drawn as nothing
        ("\ufe0f", "\\ufe0f"),
        ("\U000e0041", "\\U000e0041"),  # a tag character
    ],
)
def test_what_can_not_be_seen_is_an_escape_in_a_mark(char: str, seen: str) -> None:
    assert shown(f"a{char}b") == f'a<span class="esc">{seen}</span>b'


def test_letters_of_any_script_stay() -> None:
    assert shown("Grüße, мир, 世界, 🚀") == "Grüße, мир, 世界, 🚀"


def test_lines_and_tabs_stay() -> None:
    assert marked("a\tb\nc") == "a\tb\nc"


def test_a_cut_text_says_so_and_its_credentials_are_out_before_the_cut() -> None:
    secret = "apk_" + "x" * 40
    assert shown("abcdef", 3) == "abc…"
    assert "apk_" not in shown(f"use {secret}", 10)


def test_nothing_is_nothing() -> None:
    assert shown(None) == ""


def test_a_logs_colours_go_and_other_control_sequences_are_seen() -> None:
    text = plain_log(b"\x1b[1;31mred\x1b[0m\r\n\x1b]8;;http://evil\x07link\x1b[2J")
    assert text == "red\n\x1b]8;;http://evil\x07link\x1b[2J"
    assert marked(text).count('class="esc"') == 3


def test_a_logs_bytes_that_are_no_text_are_replaced() -> None:
    assert plain_log(b"a\xffb") == "a\ufffdb"


def test_a_logs_credentials_are_taken_out() -> None:
    assert "apk_" not in plain_log(b"Authorization: Bearer apk_" + b"x" * 40)
