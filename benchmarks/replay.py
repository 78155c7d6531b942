"""A ruleset replayed on the last 1,000 ended runs of 9 phases, against reading the same rows by raw SQL.

Ours reads, decides each run's plan under two rulesets (the one tried and the one in force), follows every attempt
and adds up. The floor only reads. `seconds` is how long the whole answer takes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, alternating, row
from benchmarks.raw import Connection, connect
from benchmarks.stage import make_repository
from benchmarks.start import RawRuns, body

SIZES = (100, 1_000)
ROUNDS = 3
PROJECT = "bench-replay"
RULESET = {
    "run_token_cap": 300_000,
    "category_defaults": {"feature_scaffolding": {"max_builder_attempts": 1}},
}
AIM = "1,000 runs < 10 s"

_FLOOR = (
    "SELECT run_id, state, safety_profile, run_scope, token_cap, max_phases, max_duration_minutes, "
    "minor_issues_count, started_at, completed_at, strategy_id FROM runs_run WHERE completed_at IS NOT NULL "
    "ORDER BY created_at DESC, run_id LIMIT %s",
    "SELECT id, run_id, tier_id, tier_index, name, description, ci_runs_used, minor_issues_count, major_issues_count "
    "FROM runs_tier WHERE run_id IN (SELECT run_id FROM runs_run WHERE completed_at IS NOT NULL "
    "ORDER BY created_at DESC, run_id LIMIT %s)",
    "SELECT id, run_id, tier_id, phase_id, phase_index, name, description, task_category, complexity, builder_mode, "
    "scope, depends_on, limits FROM runs_phase WHERE run_id IN (SELECT run_id FROM runs_run "
    "WHERE completed_at IS NOT NULL ORDER BY created_at DESC, run_id LIMIT %s)",
    "SELECT run_id, phase_id, kind, state, purpose, tokens_used, cost_micro_usd, candidate_sha, report->'diff_lines' "
    "FROM runs_attempt WHERE run_id IN (SELECT run_id FROM runs_run WHERE completed_at IS NOT NULL "
    "ORDER BY created_at DESC, run_id LIMIT %s)",
)
_ATTEMPTS = """
INSERT INTO runs_attempt (id, run_id, phase_id, kind, number, state, agent, fence, brief_notes, patch, patch_hash,
    base_commit, candidate_sha, rebuilds, infra_failures, fingerprint, failure_code, failure_reason,
    is_policy_refusal, purpose, profile, verdict, notes, report, tokens_reserved, tokens_used, usage, usage_source,
    created_at)
SELECT md5(p.id || '-' || n), p.run_id, p.id, 'build', n, CASE n WHEN 1 THEN 'RED' ELSE 'MERGED' END, 'bench', 0,
    '', '', '', '', '', 0, 0, '', '', '', false, '', '', '', '', '{}', 0, 10000 + (p.id * 37 + n) %% 30000, '{}',
    'reported', now() + n * interval '1 second'
FROM runs_phase p CROSS JOIN generate_series(1, 2) n WHERE p.run_id = ANY(%s)
"""


def run(folder: Path, passes: int) -> list[Row]:
    """Measure at each size, the smaller first; return the rows."""
    from django.test import Client

    from runs.models import Run
    from runs.tokens import create_token
    from strategy.services import add_project

    source = make_repository(folder / "replay-project", 5)
    add_project(
        PROJECT, name="", source=str(source), config_text="version: 1\n", is_default=False, by="benchmarks"
    )
    client = Client(
        headers={"Authorization": f"Bearer {create_token('replayer', roles=['operator'])}"},
        SERVER_NAME="127.0.0.1",
    )
    client.post("/runs/start", json.dumps(body("like", PROJECT)), content_type="application/json")
    raw, floor = RawRuns(Run.objects.get(pk="like")), connect()
    floor.autocommit = True
    rows, filled = [], 0
    for size in SIZES:
        _fill(raw, floor, range(filled, size))
        filled = size
        measured = [
            alternating(
                lambda _number, size=size: _read(floor, size),  # type: ignore[misc]
                lambda _number, size=size: _ours(size),  # type: ignore[misc]
                range(turn * ROUNDS, (turn + 1) * ROUNDS),
            )
            for turn in range(passes)
        ]
        found = row(f"replay of {size:,} runs", measured, aim=AIM)
        found.extra["seconds"] = round(found.ours_ms / 1e3, 2)
        rows.append(found)
    raw.connection.close()
    floor.close()
    return rows


def _fill(raw: RawRuns, floor: Connection, numbers: range) -> None:
    names = [f"past-{number}" for number in numbers]
    for name in names:
        raw.insert(name)
    with floor.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_run SET state = 'DONE_SUCCESS', started_at = created_at, "
            "completed_at = created_at + interval '30 minutes' WHERE run_id = ANY(%s)",
            [names],
        )
        cursor.execute(_ATTEMPTS, [names])
        cursor.execute("VACUUM ANALYZE")


def _read(floor: Connection, size: int) -> object:
    found: list[Any] = []
    with floor.cursor() as cursor:
        for statement in _FLOOR:
            cursor.execute(statement, [size])
            found.append(cursor.fetchall())
    return found


def _ours(size: int) -> object:
    from runs.replay import replay
    from strategy.services import project_for

    answer = replay(project_for(PROJECT), RULESET, runs=size)
    if answer["totals"]["runs"] != size or not answer["totals"]["runs_stopped"]:
        raise RuntimeError(f"the replay of {size} runs found {answer['totals']}")
    return answer
