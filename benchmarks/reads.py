"""`GET /runs/{id}` and `/metrics/runs` with 1,000 and 10,000 runs, and `/prometheus`, against raw SQL for the rows.

Ours goes through Django's client in this process and ends with the answer's bytes. The floor reads the columns that
the answer shows, in as few statements as they can be read, and makes JSON of them. `/metrics/runs` answers 1,000
rows at both sizes. That the number of queries is the same at any size is asserted by the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, Samples, alternating, row
from benchmarks.raw import Connection, connect
from benchmarks.stage import make_repository
from benchmarks.start import PHASES, RawRuns, body

SIZES = (1_000, 10_000)
ROUNDS = 10
AIM = "<= 4x, flat"
PROJECT = "bench-reads"

_METRICS = """
SELECT r.run_id, r.state, r.safety_profile, r.tokens_used, r.token_cap, r.minor_issues_count, r.major_issues_count,
       r.max_minor_issues_total, r.started_at, r.completed_at,
       (SELECT count(*) FROM runs_phase p WHERE p.run_id = r.run_id),
       (SELECT count(*) FROM runs_tier t WHERE t.run_id = r.run_id)
FROM runs_run r ORDER BY r.created_at DESC, r.run_id LIMIT 1000
"""
_RUN = """
SELECT run_id, state, safety_profile, run_scope, created_at, started_at, completed_at, tokens_used, ci_runs_used,
       minor_issues_count, major_issues_count, debt_status, failure_reason FROM runs_run WHERE run_id = %s
"""
_TIERS = """
SELECT id, tier_id, name, state, tier_index, cleanliness, minor_issues_count, major_issues_count
FROM runs_tier WHERE run_id = %s ORDER BY tier_index, tier_id
"""
_PHASES = """
SELECT id, tier_id, phase_id, name, state, task_category, complexity, builder_mode, phase_index
FROM runs_phase WHERE run_id = %s ORDER BY phase_index, phase_id
"""


def run(folder: Path, passes: int) -> list[Row]:
    """Measure at each size, the smaller first; return the rows."""
    from django.test import Client

    from runs.models import Run
    from runs.tokens import create_token
    from strategy.services import add_project

    source = make_repository(folder / "reads-project", 5)
    add_project(
        PROJECT, name="", source=str(source), config_text="version: 1\n", is_default=False, by="benchmarks"
    )
    client = Client(
        headers={"Authorization": f"Bearer {create_token('reader', roles=['operator'])}"},
        SERVER_NAME="127.0.0.1",
    )
    client.post("/runs/start", json.dumps(body("like", PROJECT)), content_type="application/json")
    raw, floor = RawRuns(Run.objects.get(pk="like")), connect()
    floor.autocommit = True
    rows, filled = [], 1
    for size in SIZES:
        for number in range(filled, size):
            raw.insert(f"run-{number}")
        filled = size
        with floor.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        rows += _rows(client, floor, size, passes)
    raw.connection.close()
    floor.close()
    return rows


def _rows(client: Any, floor: Connection, size: int, passes: int) -> list[Row]:
    last = f"run-{size - 1}"
    counts = "SELECT count(*) FROM runs_run", "SELECT state, count(*) FROM runs_run GROUP BY state"
    cases = (
        (
            f"GET /runs/{{id}}, {PHASES} phases",
            _reader(floor, (_RUN, _TIERS, _PHASES), last),
            f"/runs/{last}",
        ),
        ("/metrics/runs", _reader(floor, (_METRICS, counts[0])), "/metrics/runs"),
        ("/prometheus", _reader(floor, (counts[1],)), "/prometheus"),
    )
    found = []
    for name, raw, path in cases:
        ours = _getter(client, path)
        for number in range(3):
            raw(number)
            ours(number)
        measured: list[Samples] = [
            alternating(raw, ours, range(turn * ROUNDS, (turn + 1) * ROUNDS)) for turn in range(passes)
        ]
        aim = "time of a scrape; its floor is one of its counts" if "prometheus" in path else AIM
        found.append(row(f"{name}, {size:,} runs", measured, aim=aim))
    return found


def _reader(floor: Connection, statements: tuple[str, ...], *parameters: str) -> Callable[[int], object]:
    def read(_number: int) -> object:
        with floor.cursor() as cursor:
            found = []
            for statement in statements:
                cursor.execute(statement, parameters or None)
                found.append(cursor.fetchall())
        return json.dumps(found, default=str)

    return read


def _getter(client: Any, path: str) -> Callable[[int], object]:
    def get(_number: int) -> object:
        answer = client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}: {answer.content[:500]!r}")
        return answer.content

    return get
