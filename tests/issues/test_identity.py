"""What a report is known by: where and why, without what varies from run to run."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from issues.identity import names_of, site_of
from issues.messages import MAX_NORMAL_CHARS, normal_message
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
    ("expected 3 got 4", "expected 3.5 got 17"),
    ("assert 12 == 13", "assert 4 == 5"),
    ("user-123 can't log in", "user-9 can't log in"),
    ("worker PID-4242 died at L12", "worker PID-17 died at L998"),
    ("3 of 17 tests fail", "4 of 18 tests fail"),
    ("host 10.0.0.17:8080 is away", "host 127.0.0.1 is away"),
    ("E501 line too long (120 > 118)", "E501 line too long (131 > 118)"),
    ("HTTP 404 after 12 tries", "http 404 after 3 tries"),
    ("status code: 500 from http://shop:8080/42", "Status code: 500 from http://shop:9090/7"),
    ("exited with 3 errors", "exited with 17 errors"),
    ("SHA256 is not checked", "sha256 is not checked"),
    ("see RFC 7807", "see rfc-7807"),
    ("ORDER-1700000000 is lost", "ORDER-1700000001 is lost"),
    ("error in 17 files", "error in 3 files"),
    ("\uff35\uff2e\uff35\uff33\uff25\uff24 import", "unused import."),
]
DIFFERENT = [
    ("unused import os", "unused import sys"),
    ("expected str, got int", "expected int, got str"),
    ("the deadbeef is added", "the cafe is added"),
    ("No such file: src/a.py", "No such file: src/b.py"),
    ("not allowed", "allowed"),
    ("Vulnerable dependency CVE-2024-1234", "Vulnerable dependency CVE-2023-99"),
    ("vulnerable: cve-2024-1234", "vulnerable: cve-2024-1235"),
    ("GHSA-8xww-x3g3-6jcv in lodash", "GHSA-8xww-x3g3-6jcw in lodash"),
    ("answers are not RFC-7807", "answers are not RFC-9457"),
    ("E501 found", "E302 found"),
    ("found [PLR0913]", "found [PLR0915]"),
    ("error[E0308]: it does not compile", "error[E0309]: it does not compile"),
    ("BC30451 found", "BC30452 found"),
    ("CKV_AWS_18 failed", "CKV_AWS_19 failed"),
    ("MS17-010 is missing", "MS17-011 is missing"),
    ("HTTP 404 for the page", "HTTP 500 for the page"),
    ("HTTP/1.1 404", "HTTP/1.1 500"),
    ("status=404", "status=500"),
    ('answered {"code": 404}', 'answered {"code": 409}'),
    ("the gate ends with exit code 1", "the gate ends with exit code 137"),
    ("process exited with 1", "process exited with 2"),
    ("[Errno 2] no such thing", "[Errno 13] no such thing"),
    ("SQLSTATE 23505", "SQLSTATE 23503"),
    ("ERROR 1064 of MySQL", "ERROR 1062 of MySQL"),
    ("requests 2.19.1 is vulnerable", "requests 2.20.0 is vulnerable"),
    ("needs version 3.8", "needs version 3.9"),
    ("sha1 is weak", "md5 is weak"),
    ("utf-8 is meant", "utf-16 is meant"),
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


# One place, told in two ways.
SAME_PLACE = [
    ("/tmp/a-1/src/io.py:12", "src/io.py"),
    ("/tmp/pytest-of-ann/pytest-3/test_x0/src/io.py", "src/io.py"),
    ("/private/var/folders/ab/c1d2/T/tmpx1/src/io.py:3", "src/io.py"),
    ("/dev/shm/run-7/9f8e7d6c5b/src/io.py", "src/io.py"),
    ("src/io.py#L12", "src/io.py#L12-L20"),
    ("src/io.py#L12C3-L20C5", "src/io.py:4-9"),
    ("src/io.ts(12,5)", "src/io.ts(3)"),
    ("src/io.py, line 12", "src/io.py lines 3-9"),
    ("src/io.py (line 12)", "src/io.py on line 7"),
    ('File "src/io.py", line 12', 'File "/tmp/x/src/io.py", line 3, in read'),
    ("src/io.py:12::read", "src/io.py::read"),
    ("build/9f8e7d6c5b/x.py", "build/a1b2c3d4e5/x.py"),
    ("dist/app.9f8e7d6c.js", "dist/app.0a1b2c3d.js"),
    ("tmp_1700000000/x.py:1", "tmp_1800000001/x.py"),
    ("out/tmpab12cd_e/x.py", "out/tmp0z9y8x7w/x.py"),
    ("out/3f2c1a9e-5b7d-4c11-9a0e-1f2e3d4c5b6a/x.py", "out/00000000-0000-4000-8000-000000000000/x.py"),
    ("out/2026-11-26T10-20-30/x.py", "out/20260102T030405Z/x.py"),
    ("out/run-1700000000/x.py", "out/run-1700000001/x.py"),
]
OTHER_PLACE = [
    ("src/v1/api.py", "src/v2/api.py"),
    ("migrations/0012_x.py", "migrations/0013_x.py"),
    ("2024/report.md", "2025/report.md"),
    ("posts/2024-01-02-a.md", "posts/2024-01-03-a.md"),
    ("db/migrate/20240101120000_init.rb", "db/migrate/20240102120000_init.rb"),
    ("db/20240101_120000_init.sql", "db/20240102_120000_init.sql"),
    ("versions/9f8e7d6c5b1a_.py", "versions/a1b2c3d4e5f6_.py"),
    ("src/ed25519/x.py", "src/deadbee1/x.py"),
    ("src/base64.py", "src/base32.py"),
    ("app/(shop)/page.tsx", "app/(desk)/page.tsx"),
    ("/tmp/a-1/src/io.py", "/tmp/a-1/src/net.py"),
    ("tests/a.py::test_1", "tests/a.py::test_2"),
]


@pytest.mark.parametrize(("one", "other"), SAME_PLACE)
def test_what_varies_of_a_path_makes_no_other_place(one: str, other: str) -> None:
    assert site_of((one,)) == site_of((other,)) != ""


@pytest.mark.parametrize(("one", "other"), OTHER_PLACE)
def test_two_files_are_two_places(one: str, other: str) -> None:
    assert "" != site_of((one,)) != site_of((other,)) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("schema_change", "schema_contract_change"),
        ("Index Registry-Maintenance", "index_registry_change"),
        ("bulk_operation", "bulk_multi_file_operation"),
        ("security_auth", "security_auth_change"),
    ],
)
def test_both_spellings_of_a_category_name_one_defect(one: str, other: str) -> None:
    said: dict[str, Any] = {"description": "it breaks", "evidence_refs": ("a/b.py",)}
    first, second = (names_of(report("k", category=category, **said)) for category in (one, other))
    assert first == second
    assert first != names_of(report("k", category="docs", **said))


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
    [
        "0",
        "a1",
        "/tmp/",
        "1.1",
        "0x",
        "2026-11-26t10:",
        "<n>",
        "f" * 64,
        " ",
        "/tmp/a/",
        "µs1",
        "\u0130",
        "\ufdfa",
        "A1-",
        "A-",
        "CVE-1",
        "code ",
        "a-1/",
        ":1",
        "#L1-",
        "1.1.",
        "deadbeef1_",
    ],
)
def test_hostile_text_costs_no_more_than_long_text(piece: str) -> None:
    text = (piece * 65_536)[:65_536]
    before = time.process_time()
    assert len(normal_message(text)) <= MAX_NORMAL_CHARS
    for ref in (f"a/b.py::{text}", f"a/b.py{text[:1000]}", f"/tmp/{text[:1000]}", f'File "{text[:1000]}'):
        site_of((ref,))
    assert time.process_time() - before < 1.0


def test_normal_is_normal() -> None:
    chance = random.Random(4)
    words = [one for pair in SAME + DIFFERENT for one in pair]
    for _ in range(200):
        text = " ".join(chance.sample(words, 3))
        assert normal_message(normal_message(text)) == normal_message(text)
