"""What a gate's red tries say about the code, as issue reports."""

from __future__ import annotations

from typing import Any

from autopack_site.kernel.visible import both_ends
from integration.gate_rules import said
from issues.coverage import FLAKY_TEST, TEST_FAILURE
from runs.models import Phase
from runs.ports import IssueReport


def reports_of(
    gate_run_id: str, phase: Phase, tries: list[dict[str, Any]], verdict: str
) -> list[IssueReport]:
    """Return one report a failing test, and one a red step that has no report.

    Severity is minor: the ledger raises it where the rules of the issue's category say so, and the red
    candidate itself never lands.
    """
    reports: dict[str, IssueReport] = {}
    for row in tries:
        for step in row["steps"]:
            if step["passed"]:
                continue
            where = f"gate:{gate_run_id}:try:{row['number']}:{step['name']}"
            no_test = {"id": f"gate:{step['name']}", "message": said(step), "file": ""}
            for case in step["failing"] or [no_test]:
                report = IssueReport(
                    issue_key=case["id"],
                    severity="minor",
                    source="test" if step["failing"] else "ci",
                    category=FLAKY_TEST if verdict == "flaky" else TEST_FAILURE,
                    task_category=phase.task_category,
                    complexity=phase.complexity,
                    evidence_refs=tuple(filter(None, (case["file"], where))),
                    description=both_ends(case["message"], 2000),
                )
                reports.setdefault(case["id"], report)
    return list(reports.values())
