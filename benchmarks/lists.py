"""Lists at 1,000,000 issues and 10,000 runs, each against raw SQL of the same page.

Ours goes through Django's client in this process, logged in as a superuser for the admin and with a token for the
API, and ends with the answer's last byte. The floor reads the rows that the page shows, with their columns. Counts,
facets and charts have the same aggregate as their floor.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.many_issues import project_with_issues, start_run
from benchmarks.measure import Row, Samples, alternating, row
from benchmarks.raw import Connection, connect
from benchmarks.start import RawRuns

ISSUES = int(os.environ.get("BENCH_ISSUES", "1000000"))
RUNS = int(os.environ.get("BENCH_RUNS", "10000"))
ROUNDS = 3
PROJECT = "bench-lists"
ADMIN_AIM, API_AIM = "under 1 s", "<= 4x"
_COLUMNS = (
    "id, issue_key, category, status, effective_severity, runs_offset, tiers_offset, occurrence_count, "
    "last_seen_run_id, last_seen_at"
)
_ENTRIES = f"SELECT {_COLUMNS} FROM issues_backlogentry"
_RUNS = "SELECT run_id, state, safety_profile, token_cap, tokens_used, created_at FROM runs_run"
_WHOLE = "/project/issues/backlog"
_BACKLOG = "/admin/issues/backlogentry/"


def run(folder: Path, passes: int) -> list[Row]:
    """Fill the tables and measure each page; return the rows."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from runs.models import Run
    from runs.tokens import create_token

    token = create_token("reader", roles=["operator"])
    api = Client(headers={"Authorization": f"Bearer {token}"}, SERVER_NAME="127.0.0.1")
    person = Client(SERVER_NAME="127.0.0.1")
    person.force_login(get_user_model().objects.create_superuser("bench"))
    floor = connect()
    floor.autocommit = True
    with floor.cursor() as cursor:
        project = project_with_issues(folder, PROJECT, ISSUES, cursor)
        start_run(api, "like", PROJECT)
        raw = RawRuns(Run.objects.get(pk="like"))
        for number in range(1, RUNS):
            raw.insert(f"run-{number}")
        raw.connection.close()
        cursor.execute("VACUUM ANALYZE")
    newest, some = " ORDER BY id DESC LIMIT 50", f" WHERE project_id = {project}"
    oldest = " ORDER BY runs_offset DESC, tiers_offset DESC, issue_key LIMIT 10"
    admin = [
        ("backlog", _BACKLOG, _ENTRIES + newest),
        ("backlog, page 100", _BACKLOG + "?p=100", _ENTRIES + " ORDER BY id DESC OFFSET 4950 LIMIT 50"),
        ("backlog by status", _BACKLOG + "?status__exact=resolved",
         _ENTRIES + " WHERE status = 'resolved'" + newest),
        ("backlog by status with none", _BACKLOG + "?status__exact=accepted",
         _ENTRIES + " WHERE status = 'accepted'" + newest),
        ("backlog by severity with none", _BACKLOG + "?effective_severity__exact=major",
         _ENTRIES + " WHERE effective_severity = 'major'" + newest),
        ("backlog by category", _BACKLOG + "?category=category-3",
         _ENTRIES + " WHERE category = 'category-3'" + newest),
        ("backlog by project", f"{_BACKLOG}?project__id__exact={project}", _ENTRIES + some + newest),
        ("backlog, search", _BACKLOG + "?q=test:suite-7:case-9",
         _ENTRIES + " WHERE upper(issue_key) LIKE 'TEST:SUITE-7:CASE-9%'" + newest),
        ("ages of a project", f"{_BACKLOG}ages/?project={PROJECT}",
         "SELECT status, runs_offset, effective_severity, count(*) FROM issues_backlogentry GROUP BY 1, 2, 3"),
        ("run list", "/admin/runs/run/", _RUNS + " ORDER BY created_at DESC LIMIT 50"),
        ("board", "/admin/board/", _RUNS + " ORDER BY created_at DESC LIMIT 50"),
        ("board, search", "/admin/board/?q=run-99", _RUNS + " WHERE upper(run_id) LIKE '%RUN-99%' LIMIT 50"),
    ]  # fmt: skip
    with floor.cursor() as cursor:
        cursor.execute(f"SELECT max(id) - {ISSUES // 2} FROM issues_backlogentry{some}")
        entry = cursor.fetchone()[0]
    live = " AND status IN ('open', 'needs_cleanup', 'reopened')"
    contract = [
        ("/reports/issue_backlog_summary", f"/reports/issue_backlog_summary?project_id={PROJECT}",
         (f"SELECT status, count(*) FROM issues_backlogentry{some} GROUP BY 1", _ENTRIES + some + live + oldest)),
        ("/runs/start's backlog", None, (_ENTRIES + some + live + oldest.replace("10", "10000"),)),
        ("/project/issues", f"/project/issues?project_id={PROJECT}&limit=50", (_ENTRIES + some + newest,)),
        ("/project/issues, words", f"/project/issues?project_id={PROJECT}&limit=50&q=suite-7+case-9",
         (_ENTRIES + some + " AND issue_key LIKE 'test:suite-7:case-9%'" + newest,)),
        ("/project/issues, status and age",
         f"/project/issues?project_id={PROJECT}&limit=50&status=open&min_age_in_runs=9",
         (_ENTRIES + some + " AND status = 'open' AND runs_offset >= 8" + newest,)),
        ("/project/issues/facets", f"/project/issues/facets?project_id={PROJECT}",
         (f"SELECT status, effective_severity, category, count(*) FROM issues_backlogentry{some} GROUP BY 1, 2, 3",)),
        ("/project/issues/{id}", f"/project/issues/{entry}",
         (f"SELECT * FROM issues_backlogentry WHERE id = {entry}",)),
        ("/project/issues/{id}/timeline", f"/project/issues/{entry}/timeline",
         (f"SELECT * FROM issues_backlogevent WHERE entry_id = {entry} ORDER BY id LIMIT 50",)),
        (_WHOLE, f"/project/issues/backlog?project_id={PROJECT}",
         (_ENTRIES + some + " ORDER BY issue_key",)),
    ]  # fmt: skip
    rows = [
        _measured(f"admin: {name}", _reader(floor, sql), _getter(person, path), passes, ADMIN_AIM)
        for name, path, sql in admin
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, path, statements in contract:
        ours = _getter(api, path) if path else _open_items(project)
        # the floor of a whole backlog does not keep it either
        raw_read = _streamer(statements[0]) if name == _WHOLE else _reader(floor, *statements)
        aim = ADMIN_AIM if name.startswith("/project/") and name != _WHOLE else API_AIM
        rows.append(_measured(name, raw_read, ours, passes, aim))
        rows[-1].extra["statements"] = _statements(ours)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows[-1].extra["memory_grown_mib"] = round((after - before) / 1024, 1)
    floor.close()
    return rows


def _measured(
    name: str, raw: Callable[[int], object], ours: Callable[[int], object], passes: int, aim: str
) -> Row:
    raw(0)
    ours(0)
    rounds = 1 if name == _WHOLE else ROUNDS
    measured: list[Samples] = [
        alternating(raw, ours, range(turn * rounds, (turn + 1) * rounds)) for turn in range(passes)
    ]
    return row(f"{name}, {ISSUES:,} issues, {RUNS:,} runs", measured, aim=aim)


def _statements(ours: Callable[[int], object]) -> int:
    """Return how many statements one answer takes; the tests have the same number at a few entries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as taken:
        ours(0)
    return len(taken)


def _reader(floor: Connection, *statements: str) -> Callable[[int], object]:
    def read(_number: int) -> object:
        with floor.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                cursor.fetchall()
        return None

    return read


def _streamer(statement: str) -> Callable[[int], object]:
    def read(_number: int) -> object:
        with connect() as connection, connection.cursor("whole") as cursor:
            cursor.itersize = 5000
            cursor.execute(statement)
            return sum(1 for _ in cursor)

    return read


def _getter(client: Any, path: str) -> Callable[[int], object]:
    def get(_number: int) -> object:
        answer = client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}: {answer.content[:500]!r}")
        if answer.streaming:
            return sum(len(part) for part in answer.streaming_content)
        return len(answer.content)

    return get


def _open_items(project_pk: int) -> Callable[[int], object]:
    from issues.backlog import open_items

    return lambda _number: open_items(project_pk)
