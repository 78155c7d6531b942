"""What a red step is told by: its failing tests, else the last that it wrote; long messages keep their end."""

from __future__ import annotations

from typing import Any

import pytest

from autopack_site.kernel.visible import both_ends
from integration.gate_rules import reason_for, said
from integration.junit import MESSAGE_CHARS, parse
from integration.last_words import LastWords


def step(**values: Any) -> dict[str, Any]:
    return {"name": "unit", "passed": False, "detail": "exit code 1", "failing": [], **values}


def test_a_step_that_names_no_test_is_told_by_its_last_line() -> None:
    row = {"steps": [step(last="No module named pytestt")]}
    assert reason_for(row) == "Step unit: exit code 1: No module named pytestt"
    assert said(step()) == "exit code 1"
    failing = [{"id": "tests.test_a", "message": "", "file": ""}]
    assert (
        reason_for({"steps": [step(failing=failing, last="noise")]})
        == "Step unit: 1 tests fail: tests.test_a"
    )


@pytest.mark.parametrize(
    ("chunks", "line"),
    [
        ([b"one\ntwo\n\n  \n"], "two"),
        ([b"half a ", b"line"], "half a line"),
        ([b"\x1b[31mred\x1b[0m\n"], "\\x1b[31mred\\x1b[0m"),
        ([], ""),
        ([b"\xff\xfe\n"], "\ufffd\ufffd"),
        ([b"x" * 100_000], "x" * 300),
    ],
)
def test_the_last_line_is_bounded_and_shown_as_text(chunks: list[bytes], line: str) -> None:
    passed: list[bytes] = []
    tail = LastWords(passed.append)
    for chunk in chunks:
        tail(chunk)
    assert tail.last_line() == line
    assert passed == chunks


def test_a_secret_in_the_last_line_is_not_shown() -> None:
    tail = LastWords(lambda _data: None)
    tail(b"token: ghp_" + b"a1B2" * 9 + b"\n")
    assert "ghp_a1B2" not in tail.last_line()


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 5000])
def test_a_long_text_keeps_both_ends_and_its_bound(length: int) -> None:
    text = "".join(chr(97 + number % 26) for number in range(length))
    found = both_ends(text, 100)
    assert len(found) == min(length, 100)
    assert found[:20] == text[:20]
    assert found[-60:] == text[-60:]


def test_a_failing_test_s_message_ends_with_what_failed() -> None:
    trace = "\n".join(f"  line {number} of a long trace" for number in range(400))
    report = f"<testsuite><testcase name='t'><failure message='collection failure'>{trace}\nE   ImportError: no average</failure></testcase></testsuite>"  # noqa: E501
    [case] = parse(report.encode()).failed_cases
    assert case.message.startswith("collection failure")
    assert case.message.endswith("E   ImportError: no average")
    assert len(case.message) == MESSAGE_CHARS
