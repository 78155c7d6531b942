"""The page of an attempt: the patch side by side, the gates, the verdicts, the usage, the log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.content_security import STRICT
from integration.console import gate_log
from integration.console.side_by_side import SHOWN_BYTES
from runs.models import Attempt
from tests.integration.console.rows import PATCH, make_attempt, make_gate

pytestmark = pytest.mark.django_db
HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[2J"
EVIDENCE = {
    "tries": [
        {
            "number": 1,
            "verdict": "red",
            "steps": [
                {"name": "unit", "detail": "exit code 1", "duration_s": 1.5,
                 "failing": [{"id": f"tests::{HOSTILE}", "message": HOSTILE}]},
            ],
        }
    ]
}  # fmt: skip


def page(client: Client, attempt: Attempt, query: str = "") -> str:
    answer = client.get(f"/admin/board/attempts/{attempt.pk}/{query}")
    assert answer.status_code == 200, answer.content[:500]
    return answer.content.decode()


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_shows_the_patch_side_by_side(operator: Client) -> None:
    html = page(operator, make_attempt())
    row = re.search(r'<tr><th class="n del">1</th>.*?</tr>', html, re.DOTALL)
    assert row is not None
    assert re.sub(r"<[^>]+>", "", row[0]).startswith("1removed: def one(): return 1")
    assert "&lt;script&gt;alert" in row[0]
    assert "<script>alert" not in html


def test_the_page_tells_outcome_usage_and_notes(operator: Client) -> None:
    attempt = make_attempt(state="RED", failure_code="gate-red", failure_reason="2 tests fail", notes="I tried",
                           usage={"model": "m", "input": 10}, report={"status": "success"})  # fmt: skip
    told = words(page(operator, attempt))
    for part in ("red gate-red 2 tests fail", "Agent writer", "Tokens 1,200 (reported)", "model m", "I tried",
                 "status success"):  # fmt: skip
        assert part in told


def test_unknown_usage_is_not_nothing(operator: Client) -> None:
    assert "Tokens not known (unknown)" in words(
        page(operator, make_attempt(tokens_used=None, usage_source="unknown"))
    )


def test_the_page_shows_gates_with_their_tries_and_failing_tests(operator: Client) -> None:
    attempt = make_attempt()
    make_gate(attempt, verdict="red", reason="1 test fails", evidence=EVIDENCE)
    told = words(page(operator, attempt))
    assert "Gate run 1 red 1 test fails normal 10 s Try 1 red : unit exit code 1, 1.5 s" in told


def test_an_audit_shows_its_verdict_and_what_it_is_about(operator: Client) -> None:
    build = make_attempt()
    audit = make_attempt(build.phase, kind="audit", state="DECIDED", verdict="approve", target=build,
                         purpose="approval", profile="general_review", notes="fine", patch=b"")  # fmt: skip
    assert "decided approve" in words(page(operator, audit))
    assert f'<a href="/admin/board/attempts/{build.pk}/">build 1</a>' in page(operator, audit)
    assert "audit 1 decided approve fine" in words(page(operator, build))


def test_what_strangers_wrote_is_text(operator: Client) -> None:
    build = make_attempt(
        patch=f"diff --git a/{HOSTILE} b/{HOSTILE}\n@@ -0,0 +1 @@\n+{HOSTILE}\n".encode(), notes=HOSTILE,
        brief_notes=HOSTILE, agent=HOSTILE, failure_reason=HOSTILE, usage={HOSTILE: HOSTILE},
        report={HOSTILE: [HOSTILE]},
    )  # fmt: skip
    make_attempt(build.phase, kind="audit", target=build, notes=HOSTILE)
    make_gate(build, verdict="red", reason=HOSTILE, evidence=EVIDENCE)
    html = page(operator, build)
    assert "<img" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= 10


@pytest.mark.parametrize(
    "tries", [[{"steps": "no list"}], "text", [1, 2], [{"number": None, "steps": [{}]}], None]
)
def test_evidence_of_any_shape_is_no_error(operator: Client, tries: Any) -> None:
    attempt = make_attempt()
    make_gate(attempt, evidence={"tries": tries})
    assert "Gate run 1" in page(operator, attempt)


def test_a_large_patch_is_cut_and_the_whole_is_a_link_away(operator: Client) -> None:
    patch = b"diff --git a/a b/a\n@@ -0,0 +1,99999 @@\n" + b"+0123456789\n" * 40_000
    attempt = make_attempt(patch=patch)
    with CaptureQueriesContext(connection) as captured:
        html = page(operator, attempt)
    assert "The page shows the beginning" in html
    assert len(html) < 10 * SHOWN_BYTES
    assert not [query for query in captured if re.search(r'SELECT[^(]*"runs_attempt"\."patch"', query["sql"])]
    whole = operator.get(f"/admin/board/attempts/{attempt.pk}/patch/")
    assert whole.content == patch
    assert whole["Content-Type"] == "text/plain; charset=utf-8"
    assert whole["Content-Disposition"] == f'attachment; filename="{attempt.pk}.patch"'


def test_bytes_that_are_no_text_are_no_error(operator: Client) -> None:
    assert "\ufffd" in page(operator, make_attempt(patch=PATCH + b"\xff\xfe\x00"))


def test_the_log_of_the_last_gate_is_shown_and_another_may_be_chosen(
    operator: Client, settings: Any, tmp_path: Path
) -> None:
    settings.STATE_DIR = tmp_path
    attempt = make_attempt()
    gates = [make_gate(attempt), make_gate(attempt)]
    for number, gate in enumerate(gates):
        path = gate_log.path_of(gate)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"log {number} <b>\n")
    assert "log 1 &lt;b&gt;" in page(operator, attempt)
    assert "log 0 &lt;b&gt;" in page(operator, attempt, f"?gate={gates[0].pk}")
    assert "1 line hold" in page(operator, attempt, "?find=LOG")
    assert "0 lines hold" in page(operator, attempt, "?find=%3Cscript%3E")


def test_only_the_log_of_a_gate_at_work_is_followed(operator: Client, settings: Any, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    attempt = make_attempt()
    make_gate(attempt)
    assert "data-log-follow" not in page(operator, attempt)
    make_gate(attempt, state="RUNNING", verdict="", ended_at=None)
    assert "data-log-follow" in page(operator, attempt)


def test_more_gates_and_audits_cost_no_more_statements(operator: Client) -> None:
    costs = []
    for count in (1, 6):
        attempt = make_attempt()
        for _ in range(count):
            make_gate(attempt)
            make_attempt(attempt.phase, kind="audit", target=attempt)
        page(operator, attempt)
        with CaptureQueriesContext(connection) as captured:
            page(operator, attempt)
        costs.append(len(captured))
    assert costs[0] == costs[1] <= 11


def test_an_ended_attempt_is_no_longer_fetched(operator: Client) -> None:
    for state, ended in (("GATING", False), ("MERGED", True), ("RED", True)):
        html = operator.get(f"/admin/board/attempts/{make_attempt(state=state).pk}/live/").content.decode()
        assert ("data-ended" in html) is ended


@pytest.mark.parametrize("path", ["", "live/", "patch/"])
@pytest.mark.parametrize("name", ["none", "%00"])
def test_an_attempt_that_is_not_there_is_not_found(operator: Client, name: str, path: str) -> None:
    assert operator.get(f"/admin/board/attempts/{name}/{path}").status_code == 404


def test_the_page_has_the_strict_policy(operator: Client) -> None:
    attempt = make_attempt()
    for path in ("", "live/"):
        answer = operator.get(f"/admin/board/attempts/{attempt.pk}/{path}")
        assert answer["Content-Security-Policy"] == STRICT


def test_every_address_asks_for_a_log_in(db: None) -> None:
    attempt = make_attempt()
    gate = make_gate(attempt)
    for path in (f"attempts/{attempt.pk}/", f"attempts/{attempt.pk}/live/", f"attempts/{attempt.pk}/patch/",
                 f"gates/{gate.pk}/log/", f"gates/{gate.pk}/log/whole/"):  # fmt: skip
        answer = Client().get(f"/admin/board/{path}")
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")
