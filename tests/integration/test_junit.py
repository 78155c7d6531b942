"""Test reports of real runners are read; hostile ones are refused with a typed error."""

from __future__ import annotations

import time
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration import junit
from integration.junit import BadReport, ForbiddenXml, ReportTooLarge, TestCase, TestReport, parse

DATA = Path(__file__).parent / "data"


def read(name: str) -> TestReport:
    return parse((DATA / name).read_bytes())


def only(report: TestReport, name: str) -> TestCase:
    return next(case for case in report.cases if case.name == name)


def counts(report: TestReport) -> tuple[int, int, int, int]:
    return report.tests, report.failures, report.errors, report.skipped


def test_pytest_is_read() -> None:
    report = read("pytest.xml")
    assert counts(report) == (10, 1, 2, 2)
    failed = only(report, "test_fails")
    assert (failed.status, failed.classname) == ("failed", "test_sample")
    assert failed.message.startswith("AssertionError: assert 'naïve' == ")
    assert "test_sample.py" in failed.message
    assert only(report, "test_skipped").message.endswith("test_sample.py:12: not on this platform")
    assert only(report, "test_in_class").classname == "test_sample.TestGroup"
    assert [case.message.splitlines()[0] for case in report.cases if case.status == "error"] == [
        'failed on setup with "OSError: no disk"',
        'failed on teardown with "OSError: no cleanup"',
    ]
    assert all(case.duration_s is not None for case in report.cases)


def test_surefire_is_read() -> None:
    report = read("surefire.xml")
    assert counts(report) == (5, 1, 1, 1)
    failed = only(report, "rejectsNegative")
    assert (failed.classname, failed.duration_s) == ("com.example.LedgerTest", 1230.5)
    assert failed.message.startswith("org.opentest4j.AssertionFailedError: expected: <422> but was: <200>")
    assert "printed, not real" not in failed.message
    assert only(report, "imports").status == "passed"  # red, then green in a rerun of its own
    assert only(report, "exports").message == "needs a printer"


def test_jest_is_read() -> None:
    report = read("jest-junit.xml")
    assert counts(report) == (4, 1, 1, 1)
    failed = only(report, "cart totals \u203a rounds to cents")
    assert (failed.file, failed.duration_s) == ("src/cart.test.ts", 0.011)
    assert "Received: 10.009999999999998" in failed.message
    assert only(report, "src/broken.test.ts").status == "error"


def test_go_is_read() -> None:
    report = read("go-junit-report.xml")
    assert counts(report) == (4, 1, 1, 1)
    assert only(report, "TestPop/empty").duration_s is None
    assert only(report, "TestSlow").duration_s is None
    assert only(report, "[build failed]").classname == "example.com/broken"
    assert report.duration_s == pytest.approx(0.06)


def test_counts_are_those_of_the_cases_not_of_the_attributes() -> None:
    report = parse(b'<testsuite tests="9" failures="0"><testcase name="a"><failure/></testcase></testsuite>')
    assert counts(report) == (1, 1, 0, 0)


def test_missing_attributes_are_no_error() -> None:
    report = parse(b"<testsuites><testsuite><testcase/></testsuite></testsuites>")
    assert report.cases == (TestCase("(unnamed)", "", None, "passed", "", None),)
    assert report.duration_s is None


def test_suites_nest() -> None:
    report = parse(
        b"<testsuites><testsuite name='outer' file='o.py'><testsuite name='inner'><testcase name='t'/>"
        b"</testsuite><testcase name='u' file='u.py'/></testsuite></testsuites>"
    )
    assert [(case.name, case.classname, case.file) for case in report.cases] == [
        ("t", "inner", "o.py"),
        ("u", "outer", "u.py"),
    ]


def test_a_suite_that_broke_outside_of_its_tests_is_an_error() -> None:
    report = parse(b"<testsuite name='s'><error message='class setup'/><testcase name='a'/></testsuite>")
    assert counts(report) == (2, 0, 1, 0)
    assert report.failed_cases[0].message == "class setup"


def test_the_worst_of_several_outcomes_counts() -> None:
    report = parse(
        b"<testsuite><testcase name='a'><error/><failure message='x'/><skipped/></testcase></testsuite>"
    )
    assert (report.cases[0].status, report.cases[0].message) == ("failed", "x")


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "1e9", "soon", "", "9" * 50])
def test_impossible_times_are_unknown(value: str) -> None:
    report = parse(f"<testsuite><testcase name='a' time='{value}'/></testsuite>".encode())
    assert report.cases[0].duration_s is None


def test_texts_are_bounded_and_free_of_control_characters() -> None:
    message = "\u202e#x1B[31mred#x1B[0m\x85" + "y" * 50_000
    row = f"<testcase name='{'n' * 9000}&#10;&#9;x'><failure>{message}</failure></testcase>"
    case = parse(f"<testsuite>{row}</testsuite>".encode()).cases[0]
    assert len(case.name) == junit.NAME_CHARS
    assert len(case.message) == junit.MESSAGE_CHARS
    assert case.message.startswith("redyyy")


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite name="&b;"/>',
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><testsuite name="&e;"/>',
        b'<!DOCTYPE testsuite SYSTEM "http://127.0.0.1:9/x.dtd"><testsuite/>',
        b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p">%p;]><testsuite/>',
        "<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite/>".encode("utf-16"),
    ],
)
def test_documents_with_a_dtd_or_entities_are_refused(data: bytes) -> None:
    with pytest.raises(ForbiddenXml) as caught:
        parse(data)
    assert caught.value.code == "forbidden-xml"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        b"<testsuite>",
        b"<html/>",
        b"<testsuite/><testsuite/>",
        b"<testsuite>\x00</testsuite>",
        b"<?xml version='1.0' encoding='no-such'?><testsuite/>",
        b"<testsuite name='&undefined;'/>",
    ],
)
def test_what_is_no_report_is_a_bad_report(data: bytes) -> None:
    with pytest.raises(BadReport) as caught:
        parse(data)
    assert caught.value.code == "bad-test-report"


def test_sizes_cases_and_depth_are_bounded() -> None:
    with pytest.raises(ReportTooLarge):
        parse(b"<testsuite/>" + b" " * 100, max_bytes=100)
    with pytest.raises(ReportTooLarge):
        parse(b"<testsuite>" + b"<testcase/>" * 11 + b"</testsuite>", max_cases=10)
    deep = b"<testsuite>" * 500_000
    started = time.monotonic()
    with pytest.raises(ReportTooLarge):
        parse(deep)
    assert time.monotonic() - started < 5


def test_a_large_report_is_read_in_little_memory_and_time() -> None:
    row = (
        b"<testcase name='n' classname='c' time='0.1'><system-out>" + b"o" * 200 + b"</system-out></testcase>"
    )
    started = time.monotonic()
    report = parse(b"<testsuite>" + row * 50_000 + b"</testsuite>")
    assert report.tests == 50_000
    assert time.monotonic() - started < 10


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_report_or_a_typed_error(data: bytes) -> None:
    for candidate in (data, b"<testsuite>" + data + b"</testsuite>"):
        try:
            report = parse(candidate)
        except BadReport:
            continue
        assert report.tests == len(report.cases)


_xml_text = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=40)
_cases = st.lists(
    st.tuples(_xml_text, st.sampled_from(["", "failure", "error", "skipped"]), _xml_text, st.floats(0, 1000)),
    max_size=12,
)


@given(_cases)
def test_what_a_runner_writes_comes_back(cases: list[tuple[str, str, str, float]]) -> None:
    rows = "".join(
        f"<testcase name={quoteattr(name)} time='{seconds!r}'>"
        + (f"<{outcome}>{escape(text)}</{outcome}>" if outcome else "")
        + "</testcase>"
        for name, outcome, text, seconds in cases
    )
    report = parse(f"<testsuites><testsuite>{rows}</testsuite></testsuites>".encode())
    status = {"": "passed", "failure": "failed", "error": "error", "skipped": "skipped"}
    assert [case.status for case in report.cases] == [status[outcome] for _, outcome, _, _ in cases]
    assert [case.duration_s for case in report.cases] == [seconds for *_, seconds in cases]
    for case, (name, outcome, text, _) in zip(report.cases, cases, strict=True):
        assert case.name == (name.strip() or "(unnamed)")
        assert case.message == (text.strip() if outcome else "")


@given(st.text(max_size=200), st.integers(1, 50))
def test_cleaned_text_holds_no_control_character_and_keeps_its_bound(text: str, limit: int) -> None:
    cleaned = junit.clean(text, limit)
    assert len(cleaned) <= limit
    assert not any(ord(char) < 32 and char not in "\n\t" for char in cleaned)
    assert not set(cleaned) & set("\x1b\x7f\u202e\u2066\u200b")
