"""What a report is known by: where and why, without what varies from run to run."""

from __future__ import annotations

import random
import time

import pytest

from issues.identity import MAX_NORMAL_CHARS, names_of, normal_message, site_of
from tests.issues.reports import report

SAME = [
    ("Timeout after 3.2 s", "timeout after 31 seconds"),
    ("Connection to port 5432 refused", "connection to  port 6543 refused"),
    ("No such file: /tmp/pytest-of-a/pytest-3/x/out.txt", "No such file: /tmp/tmpab12/out.txt"),
    (r"No such file: C:\Users\ann\AppData\Local\Temp\x1\y", r"No such file: C:\Temp\z"),
    ("object at 0x7fbf8fa8eb50", "object at 0x1"),
    ("bad id 3f2c1a9e-5b7d-4c11-9a0e-1f2e3d4c5b6a", "bad id 00000000-0000-4000-8000-000000000000"),
    ("commit 9f8e7d6c5b is unknown", "commit a1b2c3d is unknown"),
    ("failed at 2026-11-26T10:20:30.123Z", "failed at 2025-01-02 03:04:05"),
    ("app.py:12: unused import os", "app.py:998: unused import os"),
    ("\uff35\uff2e\uff35\uff33\uff25\uff24 import", "unused import."),
]
DIFFERENT = [
    ("unused import os", "unused import sys"),
    ("expected str, got int", "expected int, got str"),
    ("the deadbeef is added", "the cafe is added"),
    ("No such file: src/a.py", "No such file: src/b.py"),
    ("not allowed", "allowed"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_varies_makes_no_new_message(one: str, other: str) -> None:
    assert normal_message(one) == normal_message(other) != ""


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_is_said_differently_is_another_message(one: str, other: str) -> None:
    assert normal_message(one) != normal_message(other)


@pytest.mark.parametrize("text", ["", " \n", "42", "0x1f", "2026-01-01", "...", "/tmp/abc", "3 ms", "___"])
def test_a_message_that_says_nothing_is_none(text: str) -> None:
    assert normal_message(text) == ""


@pytest.mark.parametrize(
    ("refs", "site"),
    [
        (("src/app.py:12",), "src/app.py"),
        (("src/app.py:12:3",), "src/app.py"),
        (("tests/test_a.py::test_x[1-2]",), "tests/test_a.py::test_x"),
        (("tests/test_a.py::TestA::test_x",), "tests/test_a.py::TestA::test_x"),
        (("see the log", "./src/b.py", "src/a.py"), "src/b.py"),
        (("Src/App.py",), "Src/App.py"),
        (("see the log",), ""),
        ((), ""),
        (("../../etc/passwd", "/etc/passwd"), ""),
    ],
)
def test_a_site_is_the_first_file_and_its_symbol_without_lines(refs: tuple[str, ...], site: str) -> None:
    assert site_of(refs) == site


def test_a_place_needs_both_a_site_and_a_cause() -> None:
    whole = names_of(report("k", description="it breaks", evidence_refs=("a/b.py:1",)))
    assert whole.place
    assert (whole.key, whole.site) == ("k", "a/b.py")
    assert not names_of(report("k", description="it breaks")).place
    assert names_of(report("k", description="it breaks")).cause == whole.cause
    assert not names_of(report("k", evidence_refs=("a/b.py:1",))).place
    other = names_of(report("k", description="it breaks", evidence_refs=("a/b.py:1",), category="docs"))
    assert whole.place != other.place
    assert whole.cause != other.cause


def test_parts_of_a_name_can_t_be_moved_from_one_into_the_next() -> None:
    one = names_of(report("k", category="a", description="b c", evidence_refs=("d/e.py",)))
    other = names_of(report("k", category="a b", description="c", evidence_refs=("d/e.py",)))
    assert one.cause != other.cause


@pytest.mark.parametrize(
    "piece",
    ["0", "a1", "/tmp/", "1.1", "0x", "2026-11-26t10:", "<n>", "f" * 64, " ", "/tmp/a/", "µs1", "\u0130"],
)
def test_hostile_text_costs_no_more_than_long_text(piece: str) -> None:
    text = (piece * 65_536)[:65_536]
    before = time.process_time()
    assert len(normal_message(text)) <= MAX_NORMAL_CHARS
    site_of((f"a/b.py::{text}",))
    assert time.process_time() - before < 1.0


def test_normal_is_normal() -> None:
    chance = random.Random(4)
    words = [one for pair in SAME + DIFFERENT for one in pair]
    for _ in range(200):
        text = " ".join(chance.sample(words, 3))
        assert normal_message(normal_message(text)) == normal_message(text)
