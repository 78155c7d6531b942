"""The documents say the right numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from integration.artefacts import rows, service
from integration.artefacts.summary import is_promotable
from tests.integration.artefacts.builders import (
    SHA,
    at,
    failed_run,
    make_attempt,
    make_gate,
    make_issue,
    make_phase,
    make_run,
    make_tier,
)

GOLDEN = Path(__file__).with_name("golden_run_summary.md")


def test_the_summary_of_a_failed_run_is_the_one_that_was_checked_by_eye(root: Path) -> None:
    failed_run()
    service.write_run("r1")
    written = (root / "r1" / "run_summary.md").read_text(encoding="utf-8")
    assert written == GOLDEN.read_text(encoding="utf-8")


def cells_of(document: str, first: str) -> list[str]:
    """The cells of the table row whose first cell is `first`."""
    row = next(line for line in document.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_summary_counts_what_the_rows_say(root: Path) -> None:
    run = make_run(
        tokens_used=42_000, tokens_reserved=500, ci_runs_used=7, minor_issues_count=2, major_issues_count=1
    )
    tier = make_tier(run, tokens_used=42_000, minor_issues_count=2, ci_runs_used=7)
    phase = make_phase(tier, tokens_used=42_000, builder_attempts=2, auditor_attempts=1, commit_sha=SHA)
    for key in ("a", "b", "c"):
        make_issue(phase, key)
    make_attempt(phase, usage_source="unknown", tokens_used=None)
    service.write_run("r1")
    text = (root / "r1" / "run_summary.md").read_text(encoding="utf-8")
    assert cells_of(text, "Tokens") == ["Tokens", "42000", "5000000"]
    assert cells_of(text, "Tokens held by work in progress")[1] == "500"
    assert cells_of(text, "Ended attempts whose usage is unknown")[1] == "1"
    assert cells_of(text, "Phases") == ["Phases", "1", "25"]
    assert cells_of(text, "Minor issues (distinct keys)") == ["Minor issues (distinct keys)", "2", "6"]
    assert cells_of(text, "Distinct issues")[1] == "3"
    assert cells_of(text, "Minutes")[1] == "-"  # a run at work has no length that would stay true


def test_a_run_is_promotable_only_when_all_of_it_is_well(root: Path) -> None:
    done: dict[str, Any] = {"state": "DONE_SUCCESS", "completed_at": at(5)}
    make_tier(make_run("good", **done))
    make_tier(make_run("dirty", **done), cleanliness="not_clean")
    make_tier(make_run("noisy", minor_issues_count=7, **done))
    make_tier(make_run("working"))
    failed_run("failed")
    found = {run_id: rows.load_run(run_id) for run_id in ("good", "dirty", "noisy", "working", "failed")}
    assert [run_id for run_id, loaded in found.items() if loaded and is_promotable(loaded)] == ["good"]


def test_a_phase_document_lists_its_own_attempts_and_gates_alone(root: Path) -> None:
    tier = make_tier(make_run())
    one, two = make_phase(tier, "one"), make_phase(tier, "two", depends_on=["one"], scope=[])
    make_gate(make_attempt(one, agent="alice"), reason="one is red")
    make_gate(make_attempt(two, agent="bob", failure_reason="broken | pipe"), verdict="green")
    service.write_run("r1")
    first = (root / "r1" / "phases" / "phase_01_one.md").read_text(encoding="utf-8")
    second = (root / "r1" / "phases" / "phase_02_two.md").read_text(encoding="utf-8")
    assert "`alice`" in first
    assert "`bob`" not in first
    assert "one is red" not in second
    assert "`broken \\x7c pipe`" in second
    assert cells_of(second, "Depends on")[1] == "`one`"
    assert cells_of(second, "Scope")[1] == "the whole repository"
    assert cells_of(first, "Depends on")[1] == "the earlier phases of its tier"


def test_issue_files_have_the_shapes_of_the_contract(root: Path) -> None:
    phase = make_phase(make_tier(make_run()), minor_issues_count=1)
    make_issue(phase)
    service.write_run("r1")
    assert json.loads((root / "r1/issues/phase_01_p1_issues.json").read_bytes()) == {
        "phase_id": "p1",
        "tier_id": "t1",
        "issues": [
            {
                "issue_key": "flaky-clock",
                "severity": "minor",
                "effective_severity": "minor",
                "source": "ci",
                "category": "tests",
                "task_category": "",
                "complexity": "",
                "expected_fail": False,
                "occurrence_count": 2,
                "first_seen_run": "r1",
                "last_seen_run": "r1",
                "evidence_refs": ["src/clock.py:12"],
            }
        ],
        "minor_issue_count": 1,
        "major_issue_count": 0,
        "issue_state": "has_minor_issues",
    }
    assert json.loads((root / "r1/issues/run_issue_index.json").read_bytes()) == {
        "run_id": "r1",
        "issues_by_key": {
            "flaky-clock": {
                "category": "tests",
                "severity": "minor",
                "effective_severity": "minor",
                "first_phase_index": 1,
                "last_phase_index": 1,
                "occurrence_count": 2,
                "seen_in_tiers": ["t1"],
                "seen_in_phases": ["p1"],
            }
        },
    }
    assert json.loads((root / "project_issue_backlog.json").read_bytes()) == {
        "project_id": "web",
        "issues_by_key": {
            "flaky-clock": {
                "category": "tests",
                "base_severity": "minor",
                "age_in_runs": 1,
                "age_in_tiers": 0,
                "first_seen_run_id": "r1",
                "last_seen_run_id": "r1",
                "last_seen_at": "2026-01-02T03:06:05.678901Z",
                "seen_in_tiers": ["t1"],
                "status": "open",
            }
        },
    }


def test_two_phases_of_one_index_have_files_of_their_own(root: Path) -> None:
    tier = make_tier(make_run())
    make_phase(tier, "a", phase_index=1)
    make_phase(tier, "b", phase_index=1)
    service.write_run("r1")
    assert sorted(path.name for path in (root / "r1" / "phases").iterdir()) == [
        "phase_01_a.md",
        "phase_01_b.md",
    ]
