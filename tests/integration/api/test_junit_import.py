"""JUnit reports uploaded to a phase, and `manage.py issues`: the same issues as a gate would have recorded."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from integration import junit_import
from integration.gate_issues import reports_of
from integration.junit import parse
from issues import exports
from issues.models import BacklogEntry, Issue
from runs.tokens import create_token
from tests.factories import make_project, make_run
from tests.issues.http import saw

pytestmark = pytest.mark.django_db
DATA = Path(__file__).parents[1] / "data"
SUITE = '<testsuite name="s">{}</testsuite>'
FAILS = '<testcase classname="{}" name="{}"><failure message="no">trace</failure></testcase>'


def post(run: Any, body: str | bytes, content_type: str = "application/xml", phase_id: str = "P1") -> Any:
    token = create_token("ci", roles=["verifier"])
    return Client().post(
        f"/runs/{run.run_id}/phases/{phase_id}/import_junit", body, content_type=content_type,
        headers={"Authorization": f"Bearer {token}"},
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.xml")))
def test_a_real_report_brings_the_issues_that_a_gate_records(name: str) -> None:
    run = make_run()
    data = (DATA / name).read_bytes()
    report = parse(data)
    answer = post(run, data).json()
    assert answer["tests"] == {
        "tests": report.tests, "failures": report.failures, "errors": report.errors, "skipped": report.skipped
    }  # fmt: skip
    phase = run.phases.get(phase_id="P1")
    failing = [
        {"id": case.identity, "message": case.message, "file": case.file_named}
        for case in report.failed_cases
    ]
    tries = [{"number": 1, "steps": [{"name": "unit", "passed": False, "detail": "", "failing": failing}]}]
    gate = {one.issue_key: one for one in reports_of("g", phase, tries, "red")}
    assert set(gate) == set(Issue.objects.values_list("issue_key", flat=True))
    for issue in Issue.objects.all():
        ours = gate[issue.issue_key]
        assert (issue.severity, issue.source, issue.category) == (ours.severity, ours.source, ours.category)
        assert issue.description == ours.description
        assert [ref for ref in issue.evidence_refs if not ref.startswith("junit:")] == list(
            ours.evidence_refs[:-1]
        )
    assert answer["reports"] == answer["issues"] == len(gate)


def test_the_same_file_again_is_a_second_sighting_with_no_new_evidence() -> None:
    run = make_run()
    for _ in range(2):
        post(run, SUITE.format(FAILS.format("a.b", "t") * 2))
    issue = Issue.objects.get()
    assert (issue.issue_key, issue.occurrence_count) == ("a.b::t", 2)
    assert issue.evidence_refs[0] == "a/b.py"
    assert len(issue.evidence_refs) == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"<html/>", 422, "bad-test-report"),
        (b"", 422, "invalid"),
        (b"<testsuite>", 422, "bad-test-report"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><testsuite/>', 422, "forbidden-xml"),
        (("<a>" * 70).replace("<a>", "<testsuite>", 1).encode(), 413, "test-report-too-large"),
    ],
)
def test_what_is_no_report_is_refused_with_its_code(body: bytes, status: int, code: str) -> None:
    answer = post(make_run(), body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Issue.objects.exists()


def test_too_many_failures_are_413(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(junit_import, "MAX_IMPORTED", 1)
    answer = post(make_run(), SUITE.format(FAILS.format("a", "t1") + FAILS.format("a", "t2")))
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-issues")


def test_older_types_and_json_are_taken_and_others_are_not() -> None:
    run, xml = make_run(), SUITE.format(FAILS.format("a", "t"))
    assert post(run, xml, "text/xml").status_code == 200
    assert post(run, json.dumps({"document": xml}), "application/json").status_code == 200
    assert post(run, xml, "text/plain").status_code == 415
    assert post(run, xml, phase_id="P9").json()["detail"] == f"Phase P9 not found in run {run.run_id}"


def test_autopack_s_own_export_brings_back_what_it_was_made_of() -> None:
    run = make_run(run_id="r1")
    odd = {"source": "probe", "category": "docs", "description": "two\nlines", "complexity": "low"}
    saw(run, "a::b", "plain", severity="major", evidence_refs=("a.py:1", "x"), **odd)
    saw(run, "expected", expected_fail=True)
    data = b"".join(exports.of_run("r1", "junit"))
    columns = ("issue_key", "severity", "source", "category", "complexity", "expected_fail")
    before = sorted(Issue.objects.values_list(*columns))
    Issue.objects.all().delete()
    assert post(make_run(), data).status_code == 200
    assert sorted(Issue.objects.values_list(*columns)) == before
    back = Issue.objects.get(issue_key="a::b")
    assert back.evidence_refs[:2] == ["a.py:1", "x"]
    assert back.description.endswith("two\nlines")


# --- the command -----------------------------------------------------------------------------------------


def issues(*arguments: str) -> str:
    out = StringIO()
    call_command("issues", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_takes_out_and_brings_in(tmp_path: Path) -> None:
    make_project("shop", is_default=True)
    run = make_run(run_id="r1")
    saw(run, "=k", "other")
    printed = issues("export", "--run", "r1")
    file = tmp_path / "issues.csv"
    assert str(file) in issues("export", "--run", "r1", "--output", str(file))
    assert file.read_bytes().decode() == printed
    make_run(run_id="r2")
    assert issues("import", "r2", "P1", str(file)) == "2 issues recorded, 2 of them distinct\n"
    assert Issue.objects.filter(phase__run="r2", reporters=["issues-import"]).count() == 2
    xml = tmp_path / "report.xml"
    xml.write_text(SUITE.format(FAILS.format("a", "t")))
    told = json.loads(issues("import", "r2", "P2", str(xml), "--json"))
    assert (told["reports"], told["minor_issue_count"]) == (1, 1)
    assert issues("export").startswith("issue_key,")
    assert issues("export", "--project", run.project.project_id, "--form", "junit").count("<testcase") == 2
    assert BacklogEntry.objects.count() == 5


def test_the_command_tells_what_is_wrong_by_line_and_column(tmp_path: Path) -> None:
    make_run(run_id="r1")
    file = tmp_path / "bad.csv"
    file.write_text("issue_key,severity,category\nk,fatal,\n")
    with pytest.raises(CommandError) as caught:
        issues("import", "r1", "P1", str(file))
    assert str(caught.value).splitlines() == [
        "Line 2, column 2 (severity): minor or major, not 'fatal'",
        "Line 2, column 3 (category): It is empty",
    ]
    assert not Issue.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "r1", "P1", "/nowhere/at/all.csv"), "No such file"),
        (("import", "r1", "P9", "x.csv"), "Phase P9 not found in run r1"),
        (("export", "--run", "r9"), "Run r9 not found"),
        (("export", "--project", "none"), "Project none not found"),
    ],
)
def test_the_command_names_what_is_not_there(arguments: tuple[str, ...], words: str) -> None:
    make_run(run_id="r1")
    with pytest.raises(CommandError, match=words):
        issues(*arguments)
