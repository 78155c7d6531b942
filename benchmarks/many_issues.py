"""A project of very many issues, made by the database itself: one INSERT ... SELECT over a series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.raw import Cursor
from benchmarks.stage import make_repository
from benchmarks.start import body

# Ages 0 to 9 in runs, by number; one in eight is resolved; keys and paths as tests and linters name them.
_ENTRIES = """
INSERT INTO issues_backlogentry (project_id, issue_key, category, base_severity, effective_severity, status,
    runs_offset, tiers_offset, occurrence_count, first_seen_run_id, last_seen_run_id, first_seen_at, last_seen_at,
    opened_at, seen_in_runs, seen_in_tiers, paths, scopes, fixed_by)
SELECT %(project)s, 'test:suite-' || n %% 977 || ':case-' || n, 'category-' || n %% 12, 'minor', 'minor',
    CASE WHEN n %% 8 = 0 THEN 'resolved' ELSE 'open' END, n %% 10, 0, 1 + n %% 5, 'held', 'held',
    now() - interval '1 day', now() - interval '1 hour', now() - interval '1 day', '["held"]', '["t0"]',
    jsonb_build_array('src/part_' || n %% 499 || '.py'), '[[]]', ''
FROM generate_series(1, %(size)s) AS n
"""
_NAMES = """
INSERT INTO issues_issuename (project_id, kind, name, issue_key, cause, site, former, is_fixed, is_pinned, created_at)
SELECT project_id, 'key', issue_key, issue_key, '', '', '[]', false, false, first_seen_at
FROM issues_backlogentry WHERE project_id = %(project)s
"""


def start_run(client: Any, run_id: str, project_id: str) -> None:
    """Start a run over the API."""
    answer = client.post("/runs/start", json.dumps(body(run_id, project_id)), content_type="application/json")
    if answer.status_code != 201:
        raise RuntimeError(f"/runs/start answered {answer.status_code}: {answer.content[:500]!r}")


def project_with_issues(folder: Path, name: str, size: int, cursor: Cursor) -> int:
    """Make a project with a backlog of so many entries; return the project's key."""
    from strategy.services import add_project

    source = make_repository(folder / f"{name}-source", 5)
    project = add_project(
        name, name="", source=str(source), config_text="version: 1\n", is_default=False, by="benchmarks"
    )
    cursor.execute(_ENTRIES, {"project": project.pk, "size": size})
    cursor.execute(_NAMES, {"project": project.pk})
    return int(project.pk)
