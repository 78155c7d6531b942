"""A ruleset of 20 rules tried on a plan, against reading what it stands on by raw SQL and writing the answer as JSON.

The project has 100,000 open issues, of which a strategy looks at the oldest 10,000. Ours checks the ruleset, reads
the backlog, compiles the plan under two rulesets (the one tried and the one in force), and compares both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.many_issues import project_with_issues
from benchmarks.measure import Row, alternating, row
from benchmarks.raw import Connection, connect

ISSUES = 100_000
SIZES = (9, 200)
ROUNDS = 3
PROJECT = "bench-dry-run"
AIM = "under 1 s"
CATEGORIES = ("docs", "tests", "core_backend_high", "security_auth", "feature_scaffolding")
RULESET: dict[str, Any] = {
    "run_max_phases": 200,
    "run_token_cap": 100_000_000,
    "rules": [
        {
            "id": f"rule-{n}",
            "when": {
                "category": [CATEGORIES[n % 5]],
                "paths": [f"src/part_{n}/**"],
                "backlog": {"open_at_least": 1 + n},
            },
            "set": {"incident_token_cap": 200_000 - n * 1000, "max_builder_attempts": 1 + n % 3},
        }
        for n in range(20)
    ],
}
_FLOOR = (
    "SELECT p.*, r.* FROM strategy_project p JOIN strategy_ruleset r ON r.id = p.ruleset_id WHERE p.project_id = %s",
    "SELECT t.* FROM issues_backlogtally t JOIN strategy_project p ON p.id = t.project_id WHERE p.project_id = %s",
    "SELECT issue_key, category, base_severity, runs_offset, tiers_offset, status, paths FROM issues_backlogentry "
    "WHERE project_id = (SELECT id FROM strategy_project WHERE project_id = %s) "
    "AND status IN ('open', 'needs_cleanup', 'reopened') "
    "ORDER BY runs_offset DESC, tiers_offset DESC, issue_key LIMIT 10000",
)


def run(folder: Path, passes: int) -> list[Row]:
    """Measure a plan of each size; return the rows."""
    raw = connect()
    raw.autocommit = True
    with raw.cursor() as cursor:
        project_with_issues(folder, PROJECT, ISSUES, cursor)
        cursor.execute("VACUUM ANALYZE")
    rows = []
    for size in SIZES:
        answer = _ours(size)
        measured = [
            alternating(
                lambda _number, answer=answer: _read(raw, answer),  # type: ignore[misc]
                lambda _number, size=size: _ours(size),  # type: ignore[misc]
                range(turn * ROUNDS, (turn + 1) * ROUNDS),
            )
            for turn in range(passes)
        ]
        rows.append(row(f"dry run, {size} phases, 20 rules, {ISSUES:,} issues", measured, aim=AIM))
    raw.close()
    return rows


def _plan(size: int) -> Any:
    from strategy.types import PhaseSpec, Plan, TierSpec

    tiers = tuple(TierSpec(f"t{n}", n, f"Tier {n}") for n in range(3))
    phases = tuple(
        PhaseSpec(
            f"p{n}", f"t{n * 3 // size}", n, f"Phase {n}", task_category=CATEGORIES[n % 5], complexity="medium",
            scope=(f"src/part_{n % 20}/a.py",),
        )
        for n in range(size)
    )  # fmt: skip
    return Plan(tiers, phases)


def _ours(size: int) -> dict[str, Any]:
    from runs.trials import dry_run
    from strategy.services import project_for

    answer = dry_run(project_for(PROJECT), RULESET, _plan(size))
    shown = sum(len(found["phases"]) for found in answer["runs"])
    if shown < size or not answer["differences"]:
        raise RuntimeError(f"the dry run of {size} phases shows {shown}")
    return answer


def _read(raw: Connection, answer: dict[str, Any]) -> str:
    with raw.cursor() as cursor:
        for statement in _FLOOR:
            cursor.execute(statement, [PROJECT])
            cursor.fetchall()
    return json.dumps(answer, default=str)
