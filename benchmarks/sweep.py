"""The aging sweep over 1,000,000 issues, alone and while eight clients report to the same project.

Ours marks every open entry through `sweep_backlogs`, in batches (to age them is one write; `start` has it). The floor
marks the same number of rows of another project by one statement, which tells of them too. Eight threads report
through the real service, each to a run of its own, to the project that ours sweeps: they take their part of the
machine's cores while the floor is measured beside them too, though that one holds up none of them. The row
`reporters` has a report without a sweep as its floor and beside ours as ours, and both p95.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.many_issues import project_with_issues, start_run
from benchmarks.measure import Row, Samples, percentile, row, seconds
from benchmarks.raw import Connection, connect

SIZE = int(os.environ.get("BENCH_ISSUES", "1000000"))
CLIENTS = 8
CALM_S = 10.0
RUN = "bench-sweep-run"
_FLOOR = """
WITH marked AS (
    UPDATE issues_backlogentry SET status = 'needs_cleanup', effective_severity = 'major'
    WHERE project_id = %(project)s AND status IN ('open', 'reopened') AND runs_offset >= 0 RETURNING id
)
INSERT INTO issues_backlogevent (entry_id, event, from_status, to_status, who, why, run_id, correlation_id, at)
SELECT id, 'aged', 'open', 'needs_cleanup', 'autopack', 'floor', '', '', now() FROM marked
"""
_UNMARK = """
UPDATE issues_backlogentry SET status = 'open', effective_severity = 'minor'
WHERE project_id = %(project)s AND status = 'needs_cleanup'
"""


def run(folder: Path, passes: int) -> list[Row]:
    """Measure the sweep alone and beside reporters; return the rows."""
    from django.test import Client

    from runs.tokens import create_token

    client = Client(
        headers={"Authorization": f"Bearer {create_token('reporter', roles=['operator'])}"},
        SERVER_NAME="127.0.0.1",
    )
    raw = connect()
    raw.autocommit = True
    with raw.cursor() as cursor:
        bare = project_with_issues(folder, "bench-sweep-floor", SIZE, cursor)
        own = project_with_issues(folder, "bench-sweep", SIZE, cursor)
        for number in range(CLIENTS):
            start_run(client, f"{RUN}-{number}", "bench-sweep")
    _low_thresholds(own)
    _floor(raw, bare)  # from here on all of it is marked whenever ours sweeps: nothing of it is left to mark
    alone, beside, calm, busy, against_alone = [], [], [], [], []
    for turn in range(passes):
        floor_s, ours_s = _pair(raw, bare, own, turn)
        alone.append(([floor_s], [ours_s]))
        with _reporting(turn) as taken:
            time.sleep(CALM_S)
            without = _taken(taken)
            floor_beside_s = _floor(raw, bare)
            _fresh(raw, own)
            _taken(taken)
            ours_beside_s = seconds(_sweep, turn)
            busy.append(_taken(taken))
        calm.append(without)
        beside.append(([floor_beside_s], [ours_beside_s]))
        against_alone.append(ours_beside_s / floor_s)
    raw.close()
    reporters: list[Samples] = list(zip(calm, busy, strict=True))
    marks = {"issues": float(SIZE)}
    every_calm, every_busy = [s for one in calm for s in one], [s for one in busy for s in one]
    extra = {
        "p95_without_ms": round(percentile(every_calm, 0.95) * 1e3, 1),
        "p95_with_ms": round(percentile(every_busy, 0.95) * 1e3, 1),
        "max_with_ms": round(max(every_busy) * 1e3, 1),
        "reports_with": float(len(every_busy)),
    }
    return [
        row(f"sweep, {SIZE:,} issues, alone", alone, aim="<= 2x", extra=marks),
        row(
            f"sweep, {SIZE:,} issues, {CLIENTS} clients reporting",
            beside,
            aim="<= 2x",
            extra={**marks, "times_floor_alone": round(statistics.median(against_alone), 2)},
        ),
        row(f"reporters, {CLIENTS} at once, beside the sweep", reporters, aim="not blocked", extra=extra),
    ]


def _low_thresholds(project_pk: int) -> None:
    from strategy.models import Project
    from strategy.services import add_ruleset

    document = {"safety_profiles": {"normal": {"minor_issue_aging_runs_threshold": 1}}}
    add_ruleset(Project.objects.get(pk=project_pk), document, "benchmarks")


def _pair(raw: Connection, bare: int, own: int, turn: int) -> tuple[float, float]:
    """Return the seconds of the floor and of ours, each on rows that nothing has marked."""
    sides = [lambda: _floor(raw, bare), lambda: _ours(raw, own)]
    taken = [0.0, 0.0]
    for side in (0, 1) if turn % 2 else (1, 0):
        taken[side] = sides[side]()
    return taken[0], taken[1]


def _floor(raw: Connection, bare: int) -> float:
    _fresh(raw, bare)
    with raw.cursor() as cursor:
        return seconds(lambda _n: cursor.execute(_FLOOR, {"project": bare}), 0)


def _ours(raw: Connection, own: int) -> float:
    _fresh(raw, own)
    return seconds(_sweep, 0)


def _sweep(_turn: int) -> None:
    from issues.sweeps import sweep_backlogs

    sweep_backlogs()


def _fresh(raw: Connection, project: int) -> None:
    """Let nothing be marked, everything be of age, and no dead row lie about."""
    with raw.cursor() as cursor:
        cursor.execute(_UNMARK, {"project": project})
        cursor.execute("UPDATE issues_backlogtally SET runs = runs + 1 WHERE project_id = %s", [project])
        cursor.execute("VACUUM ANALYZE issues_backlogentry")


def _taken(taken: list[float]) -> list[float]:
    """Take what was measured so far."""
    found = list(taken)
    del taken[: len(found)]
    return found


@contextmanager
def _reporting(turn: int) -> Iterator[list[float]]:
    """Have the clients report, each to a run and with keys of its own, and note the seconds that each report took."""
    from django.db import connection

    from issues.services import record_reports
    from runs.models import Phase
    from runs.ports import IssueReport

    phases = [Phase.objects.get(run=f"{RUN}-{number}", phase_id="p0").pk for number in range(CLIENTS)]
    stop, taken = threading.Event(), []
    faults: list[BaseException] = []

    def report(client: int) -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                seen = IssueReport(f"r{turn}-{client}-{number % 500}", "minor", "probe", "style")
                one: Any = lambda _n, seen=seen: record_reports(phases[client], [seen], reporter="c")  # noqa: E731
                taken.append(seconds(one, number))
        except BaseException as error:
            faults.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=report, args=(client,), daemon=True) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield taken
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    if faults:
        raise faults[0]
