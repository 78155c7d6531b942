"""Issues in files: what CSV keeps, refuses and defuses; what JUnit tells; exports of any length in chunks."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from issues import batch, exchange, exports
from issues.decisions import resolve_entry
from issues.exchange import OF_ENTRY, OF_ISSUE, defused, plain, read_csv
from issues.models import BacklogEntry, Issue
from issues.search import Wanted
from runs.ports import IssueReport
from runs.waiting import waiters
from tests.factories import make_project, make_run
from tests.issues.http import client, entry_of, phase_path, saw

pytestmark = [pytest.mark.django_db, pytest.mark.urls("issues.api.urls")]
HEADER = "issue_key,severity,category"
HELD = ("issue_key", "severity", "category", "source", "task_category", "complexity", "expected_fail", "description",
        "evidence_refs")  # fmt: skip


def upload(http: Any, run: Any, text: str | bytes, phase_id: str = "P1") -> Any:
    return http.post(phase_path(run, "import_csv", phase_id), text, content_type="text/csv")


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def told(data: str | bytes) -> list[tuple[list[Any], str]]:
    with pytest.raises(Invalid) as caught:
        read_csv(data if isinstance(data, bytes) else data.encode())
    return [(row["loc"], row["msg"]) for row in caught.value.problems]


# --- CSV in ----------------------------------------------------------------------------------------------


def test_a_file_is_recorded_as_a_client_sends_it():
    run = make_run()
    text = (
        "\ufeffissue_key,severity,category,evidence_refs,expected_fail,description\r\n"
        'k1,minor,docs,"a.py:1\nb.py:2",,"two\nlines"\r\n'
        "\r\n"
        'k2,major,docs,"[""c.py""]",TRUE,\r\n'
        "k1,major,docs,,no,\r\n"
    )
    answer = upload(client("verifier"), run, text)
    assert answer.json() == {
        "message": "3 issues recorded", "reports": 3, "issues": 2, "minor_issue_count": 0,
        "major_issue_count": 1, "issue_state": "has_major_issues",
    }  # fmt: skip
    first, second = Issue.objects.order_by("issue_key")
    assert (first.severity, first.occurrence_count, first.source) == ("major", 2, "import")
    assert (first.evidence_refs, first.description) == (["a.py:1", "b.py:2"], "two\nlines")
    assert (second.expected_fail, second.evidence_refs) == (True, ["c.py"])
    assert first.reporters == ["agent"]


def test_a_file_may_come_within_json():
    run = make_run()
    body = {"document": f"{HEADER}\nk1,minor,docs\n"}
    answer = client().post(phase_path(run, "import_csv"), body, format="json")
    assert (answer.status_code, answer.json()["reports"]) == (200, 1)


@pytest.mark.parametrize(
    ("text", "loc", "words"),
    [
        ("", ["body", 1], "Line 1: The column issue_key is missing"),
        ("issue_key,severity\n", ["body", 1], "Line 1: The column category is missing"),
        (f"{HEADER},sevrity\n", ["body", 1, 4], "Line 1, column 4: No such column: 'sevrity'"),
        (f"{HEADER},severity\n", ["body", 1, 4], "Line 1, column 4: severity comes twice"),
        (f"{HEADER}\nk,minor,c\nk,fatal,c\n", ["body", 3, "severity"],
         "Line 3, column 2 (severity): minor or major, not 'fatal'"),
        (f"{HEADER}\n,minor,c\n", ["body", 2, "issue_key"], "Line 2, column 1 (issue_key): It is empty"),
        (f"{HEADER}\n{'k' * 257},minor,c\n", ["body", 2, "issue_key"],
         "Line 2, column 1 (issue_key): 257 characters where 256 are the most"),
        (f"{HEADER}\nk,minor\n", ["body", 2, "category"], "Line 2, column 3 (category): 2 cells"),
        (f"{HEADER}\nk,minor,c,d\n", ["body", 2, 4], "Line 2, column 4: 4 cells where the header has 3"),
        (f"{HEADER},expected_fail\nk,minor,c,perhaps\n", ["body", 2, "expected_fail"], "Line 2, column 4"),
        (f"{HEADER},evidence_refs\nk,minor,c,[1]\n", ["body", 2, "evidence_refs"], "Line 2, column 4"),
        (f"{HEADER},evidence_refs\nk,minor,c,[\n", ["body", 2, "evidence_refs"], "Line 2, column 4"),
        (f'{HEADER}\n"two\nlines",minor,c\nk,minor,c\x00\n', ["body", 4, "category"], "Line 4, column 3"),
        (f'{HEADER}\nk,minor,"c"d\n', ["body", 2], "Line 2: "),
        (f'{HEADER}\nk,minor,"c\n', ["body", 2], "Line 2: "),
        (f"{HEADER}\nk,minor,c\n".encode() + b"k,minor,\xff\n", ["body", 3], "Line 3: the text is not UTF-8"),
        (f"{HEADER}\n".encode("utf-16"), ["body", 1], "Line 1: the text is not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_line_and_column_and_nothing_is_recorded(text, loc, words):
    [(where, said), *_] = told(text)
    assert where == loc
    assert said.startswith(words)
    answer = upload(client(), make_run(), text or b" ")
    assert answer.status_code == 422
    assert not Issue.objects.exists()


def test_faults_are_told_together_up_to_a_bound():
    faults = told(f"{HEADER}\n" + "k,fatal,\n" * 30)
    assert len(faults) == exchange.MAX_PROBLEMS
    assert [loc for loc, _ in faults[:3]] == [
        ["body", 2, "severity"], ["body", 2, "category"], ["body", 3, "severity"]
    ]  # fmt: skip


def test_a_file_of_too_many_rows_is_413(monkeypatch):
    monkeypatch.setattr(exchange, "MAX_IMPORTED", 2)
    answer = upload(client(), make_run(), f"{HEADER}\n" + "k,minor,c\n" * 3)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-issues")
    assert not Issue.objects.exists()


def test_a_body_over_the_limit_is_413(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    answer = upload(client(), make_run(), f"{HEADER}\n" + "k,minor,c\n" * 30)
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_an_import_takes_the_same_statements_at_any_size():
    run = make_run(max_minor_issues_total=5000)
    http = client()
    upload(http, run, f"{HEADER}\nwarm,minor,c\n")
    costs = []
    for rows in (3, 300):
        with CaptureQueriesContext(connection) as captured:
            upload(http, run, f"{HEADER}\n" + "".join(f"{rows}-{number},minor,c\n" for number in range(rows)))
        costs.append(len(captured))
    assert costs[0] == costs[1]
    assert Issue.objects.count() == 304


# --- CSV out and back ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "written"),
    [("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"),
     ("\r=1", "'\r=1"), ("'=1", "''=1"), ("'", "''"), ("a=1", "a=1"), ("", ""), ("[1]", "[1]")],
)  # fmt: skip
def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_is_defused(cell, written):
    assert defused(cell) == written
    assert plain(written) == cell


def test_an_apostrophe_of_somebody_s_own_stays():
    assert plain("'tis") == "'tis"


TEXT = st.text(max_size=30).map(lambda text: text.replace("\x00", ""))
TRICKY = st.sampled_from(
    ["=cmd|' /C calc'!A0", "+a", "'=b", "''", 'a,b;"c"', "x\r\ny", "\r", "\n", "\ufeff", "[", "€"]
)
NEEDED = st.one_of(TEXT, TRICKY).filter(bool)


@st.composite
def reports(draw) -> IssueReport:
    return IssueReport(
        issue_key=draw(NEEDED), severity=draw(st.sampled_from(["minor", "major"])), source=draw(NEEDED),
        category=draw(NEEDED), task_category=draw(NEEDED), complexity=draw(NEEDED), expected_fail=draw(st.booleans()),
        description=draw(st.one_of(TEXT, TRICKY)),
        evidence_refs=tuple(draw(st.lists(st.one_of(TEXT, TRICKY), max_size=3, unique=True))),
    )  # fmt: skip


def check_round_trip(found: list[IssueReport]) -> None:
    issues = [
        Issue(
            **{name: getattr(one, name) for name in HELD if name != "evidence_refs"},
            evidence_refs=list(one.evidence_refs), effective_severity="major", occurrence_count=1, phase=None,
        )
        for one in found
    ]  # fmt: skip
    cells = [
        [
            *(defused(exchange._text(getattr(issue, name))) for name in HELD),
            *["x"] * (len(OF_ISSUE) - len(HELD)),
        ]
        for issue in issues
    ]
    assert OF_ISSUE[: len(HELD)] == HELD
    document = b"".join(exchange.csv_chunks(OF_ISSUE, [cells]))
    assert read_csv(document) == found
    for row in csv.reader(io.StringIO(document.decode(), newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


@given(st.lists(reports(), max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
def test_whatever_a_report_holds_survives_the_file(found):
    check_round_trip(found)


@pytest.mark.torture
@given(st.lists(reports(), max_size=4))
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
def test_whatever_a_report_holds_survives_the_file_very_often(found):
    check_round_trip(found)


def held() -> list[tuple[Any, ...]]:
    return sorted(Issue.objects.values_list(*(name for name in HELD if name != "evidence_refs")))


def test_a_run_s_export_recorded_elsewhere_is_the_same_issues():
    run = make_run(run_id="r1", phases_per_tier=3)
    odd: dict[str, Any] = {
        "category": "+docs",
        "source": "probe",
        "severity": "major",
        "evidence_refs": ("a,b.py:1", "c"),
    }
    for key in ("=k", "tests/a.py::b", "\tk"):
        saw(run, key, description=f"=HYPERLINK(1)\n'x' {key}", **odd)
    saw(run, "k3", phase_id="P3", expected_fail=True)
    data = client("reader").get("/runs/r1/issues/export").getvalue()
    assert sorted(row["issue_key"] for row in rows_of(data)) == ["'\tk", "'=k", "k3", "tests/a.py::b"]
    assert {row["phase_id"] for row in rows_of(data)} == {"P1", "P3"}
    before = held()
    Issue.objects.all().delete()
    answer = upload(client("verifier", name="v"), make_run(make_project()), data)
    assert answer.status_code == 200, answer.content
    assert held() == before


def test_an_export_is_a_file_of_its_own_name():
    make_run(make_project("shop", is_default=True), run_id="r1")
    http = client("reader")
    answer = http.get("/runs/r1/issues/export")
    assert answer.getvalue().decode() == ",".join(OF_ISSUE) + "\r\n"
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="r1-issues.csv"'
    answer = http.get("/project/issues/export?form=junit")
    assert (answer["Content-Type"], answer["Content-Disposition"]) == (
        "application/xml; charset=utf-8", 'attachment; filename="shop-backlog.xml"'
    )  # fmt: skip
    assert fromstring(answer.getvalue()).tag == "testsuites"


def test_a_backlog_s_export_holds_what_filters_find_and_can_be_imported():
    project = make_project("shop", is_default=True)
    run = make_run(project)
    saw(run, "k1", "k2", evidence_refs=("a.py",))
    saw(run, "k3", category="docs")
    resolve_entry(entry_of("k3").pk, by="ann", why="w")
    http = client("reader")
    data = http.get("/project/issues/export").getvalue()
    assert [row["issue_key"] for row in rows_of(data)] == ["k1", "k2", "k3"]
    assert rows_of(data)[2]["status"] == "resolved"
    assert list(rows_of(data)[0]) == list(OF_ENTRY)
    filtered = rows_of(http.get("/project/issues/export?status=open&q=k2").getvalue())
    assert [row["issue_key"] for row in filtered] == ["k2"]
    assert [one.issue_key for one in read_csv(data)] == ["k1", "k2", "k3"]


@pytest.mark.parametrize("form", exports.FORMS)
def test_a_long_export_is_read_in_chunks_and_each_row_comes_once(monkeypatch, form):
    monkeypatch.setattr(exports, "CHUNK", 4)
    project = make_project("shop")
    run = make_run(project, run_id="r1", phases_per_tier=3)
    for phase_id in ("P2", "P1", "P3"):
        saw(run, *(f"k{number}" for number in range(6)), phase_id=phase_id)
    whole = b"".join(exports.of_run("r1", form))
    assert whole.count(b"k3") == (3 if form == "csv" else 6)
    entries = list(exports.of_backlog(project.pk, Wanted(), form))
    assert len(entries) == (1 + 2 if form == "csv" else 1 + 2 + 1)  # head, two chunks, and JUnit's end
    assert b"".join(entries).count(b"k3") == (1 if form == "csv" else 2)


def test_the_export_of_a_run_that_is_not_there_or_another_project_s_is_404():
    make_run(run_id="r1")
    for http, run_id in (
        (client("reader"), "r9"),
        (client("reader", project=make_project(), name="b"), "r1"),
    ):
        answer = http.get(f"/runs/{run_id}/issues/export")
        assert (answer.status_code, answer.json()["detail"]) == (404, f"Run {run_id} not found")


def test_an_export_takes_a_waiter_s_place_while_it_is_read():
    make_run(run_id="r1")
    answer = client("reader").get("/runs/r1/issues/export")
    assert waiters.count == 1
    answer.getvalue()
    answer.close()
    assert waiters.count == 0


# --- JUnit out -------------------------------------------------------------------------------------------


def test_a_run_as_junit_has_a_suite_for_each_phase_with_true_counts():
    run = make_run(run_id="r1")
    saw(run, "tests/a.py::T::test_b", description="a <b> & \x1b]c", evidence_refs=("tests/a.py:3",))
    saw(run, "plain-key", expected_fail=True)
    saw(run, "other", phase_id="P2", severity="major")
    root = fromstring(b"".join(exports.of_run("r1", "junit")))
    first, second = root
    assert (first.get("name"), first.get("tests"), first.get("failures"), first.get("skipped")) == (
        "r1/P1", "2", "1", "1"
    )  # fmt: skip
    assert (second.get("name"), second.get("failures")) == ("r1/P2", "1")
    cases = {case.get("name"): case for case in first}
    assert cases["test_b"].get("classname") == "tests/a.py::T"
    assert cases["plain-key"].get("classname") == "r1/P1"
    assert cases["plain-key"].find("skipped") is not None
    failure = cases["test_b"].find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.text) == ("minor", "a <b> & \ufffd]c")


def test_a_backlog_as_junit_fails_for_what_is_open_and_passes_for_what_is_resolved():
    project = make_project("shop")
    saw(make_run(project), "open", "gone")
    resolve_entry(entry_of("gone").pk, by="ann", why="w")
    [suite] = fromstring(b"".join(exports.of_backlog(project.pk, Wanted(), "junit")))
    outcomes = {case.get("name"): [child.tag for child in case][1:] for case in suite}
    assert outcomes == {"open": ["failure"], "gone": []}
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_the_batch_and_the_file_agree_on_how_much_is_taken():
    assert batch.MAX_REPORTS <= batch.MAX_IMPORTED == exchange.MAX_IMPORTED
    assert BacklogEntry._meta.get_field("issue_key").max_length == 256
