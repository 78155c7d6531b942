"""`record_issue` in a run that holds 0, 2,000 and 20,000 issues, against raw upserts of the same rows.

Ours goes through Django's client in this process. Each call records a key that is new, so that every level has
a row to insert. The floor holds the same locks, upserts the same rows (the issue's name, its four levels and the
reporter's vote, the entry's first event, the intent to write the run's files) and moves the same counters, a round
trip each, in one transaction. The run's cap is out of reach: beyond it each report also wakes the supervisor, and
has nobody to wake here. Cost must not grow with what the run holds: `tests/issues/test_flat_cost.py` proves it of
the queries and their plans; here is the time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, alternating, row
from benchmarks.raw import Insert, connect, now
from benchmarks.stage import make_repository
from benchmarks.start import body

SIZES = (0, 2_000, 20_000)
ROUNDS = 30
AIM = "<= 4x, flat"
BATCH = 1_000


def run(folder: Path, passes: int) -> list[Row]:
    """Measure each size, all sizes in turn within a pass; return their rows."""
    from django.db import connection
    from django.test import Client

    from runs.tokens import create_token
    from strategy.services import add_project

    source = make_repository(folder / "issue-project", 5)
    for size in SIZES:
        add_project(
            f"bench-issues-{size}",
            name="",
            source=str(source),
            config_text="version: 1\n",
            is_default=False,
            by="benchmarks",
        )
    headers = {"Authorization": f"Bearer {create_token('reporter', roles=['operator'])}"}
    client = Client(headers=headers, SERVER_NAME="127.0.0.1")
    floors = {size: _filled(client, size) for size in SIZES}
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    measured: dict[int, list[Any]] = {size: [] for size in SIZES}
    for turn in range(passes):
        for size, floor in floors.items():
            rounds = range(turn * ROUNDS, (turn + 1) * ROUNDS)
            measured[size].append(alternating(floor.record, _recorder(client, size), rounds))
    for floor in floors.values():
        floor.connection.close()
    return [row(f"record_issue, run holds {size:,}", measured[size], aim=AIM) for size in SIZES]


def _filled(client: Any, size: int) -> RawIssues:
    """Start a run of the size's project and fill it."""
    from runs import ports
    from runs.models import Phase, Run
    from runs.ports import IssueReport

    run_id = f"issues-{size}"
    answer = client.post(
        "/runs/start", json.dumps(body(run_id, f"bench-issues-{size}")), content_type="application/json"
    )
    if answer.status_code != 201:
        raise RuntimeError(f"/runs/start answered {answer.status_code}: {answer.content[:500]!r}")
    Run.objects.filter(pk=run_id).update(max_minor_issues_total=1_000_000)
    phase = Phase.objects.select_related("run", "tier").get(run=run_id, phase_id="p0")
    for start in range(0, size, BATCH):
        reports = [
            IssueReport(f"held-{number}", "minor", "probe", "style")
            for number in range(start, min(start + BATCH, size))
        ]
        ports.ledger().record(phase.pk, reports, reporter="benchmarks")
    floor = RawIssues(phase)
    warm = _recorder(client, size)
    for number in range(-5, 0):
        floor.record(number)
        warm(number)
    return floor


def _recorder(client: Any, size: int) -> Any:
    def record(number: int) -> None:
        answer = client.post(
            f"/runs/issues-{size}/phases/p0/record_issue",
            json.dumps({"issue_key": f"ours-{number}", "severity": "minor", "source": "probe", "category": "style",
                        "evidence_refs": ["src/a.py:12"]}),
            content_type="application/json",
        )  # fmt: skip
        if answer.status_code != 200:
            raise RuntimeError(f"record_issue answered {answer.status_code}: {answer.content[:500]!r}")

    return record


class RawIssues:
    """Records an issue as the service leaves it: six upserts, an event, three counters, an outbox row."""

    def __init__(self, phase: Any) -> None:
        from issues.models import BacklogEntry, BacklogEvent, Issue, IssueName, RunIndexEntry, TierIssue, Vote
        from runs.models import Outbox

        self.phase = phase
        self.connection = connect()
        self.upserts = {
            "name": _upsert(IssueName, ("project_id", "name", "kind")),
            "issue": _upsert(Issue, ("phase_id", "issue_key")),
            "tier": _upsert(TierIssue, ("tier_id", "issue_key")),
            "index": _upsert(RunIndexEntry, ("run_id", "issue_key")),
            "backlog": _upsert(BacklogEntry, ("project_id", "issue_key")),
            "vote": _upsert(Vote, ("entry_id", "reporter")),
        }
        self.event = Insert(BacklogEvent)
        self.outbox = Insert(Outbox, conflict="ON CONFLICT DO NOTHING")

    def record(self, number: int) -> None:
        """Record one new key in one transaction, under the locks of the run and of the project's backlog."""
        phase, at = self.phase, now()
        run_id, project_id = phase.run_id, phase.run.project_id
        key = f"raw-{number}"
        both = {"severity": "minor", "effective_severity": "minor", "category": "style"}
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute('SELECT 1 FROM "runs_run" WHERE "run_id" = %s FOR NO KEY UPDATE', [run_id])
            cursor.execute(
                'SELECT "runs", "tiers" FROM "issues_backlogtally" WHERE "project_id" = %s FOR NO KEY UPDATE',
                [project_id],
            )
            runs, tiers = cursor.fetchone()
            self.upserts["name"](
                cursor, project_id=project_id, kind="key", name=key, issue_key=key, created_at=at
            )
            self.upserts["issue"](
                cursor, phase_id=phase.pk, issue_key=key, source="probe", task_category=phase.task_category,
                complexity=phase.complexity, occurrence_count=1, first_seen_run=run_id, last_seen_run=run_id,
                first_seen_at=at, last_seen_at=at, evidence_refs=["src/a.py:12"], reporters=["raw"], **both,
            )  # fmt: skip
            self.upserts["tier"](cursor, tier_id=phase.tier_id, issue_key=key, effective_severity="minor")
            self.upserts["index"](
                cursor, run_id=run_id, issue_key=key, first_phase_index=0, last_phase_index=0,
                occurrence_count=1, seen_in_tiers=["t0"], seen_in_phases=["p0"], **both,
            )  # fmt: skip
            entry = self.upserts["backlog"](
                cursor, project_id=project_id, issue_key=key, category="style", status="open",
                runs_offset=-runs, tiers_offset=-tiers, base_severity="minor", effective_severity="minor",
                occurrence_count=1,
                first_seen_run_id=run_id, last_seen_run_id=run_id, first_seen_at=at, last_seen_at=at,
                opened_at=at, seen_in_runs=[run_id], seen_in_tiers=["t0"], paths=["src/a.py"], scopes=[[]],
            )  # fmt: skip
            self.event(
                cursor, entry_id=entry, event="opened", to_status="open", why="reported in phase p0", who="raw",
                run_id=run_id, at=at,
            )  # fmt: skip
            self.upserts["vote"](cursor, entry_id=entry, reporter="raw", at=at)
            for table, column, value in (
                ("runs_phase", "id", phase.pk), ("runs_tier", "id", phase.tier_id), ("runs_run", "run_id", run_id),
            ):  # fmt: skip
                cursor.execute(
                    f'UPDATE "{table}" SET "minor_issues_count" = "minor_issues_count" + 1 WHERE "{column}" = %s',
                    [value],
                )
            self.outbox(
                cursor,
                topic="artefacts.write",
                key=run_id,
                reference={"run_id": run_id},
                due_at=at,
                created_at=at,
            )


def _upsert(model: Any, key: Sequence[str]) -> Insert:
    columns = [field.column for field in model._meta.concrete_fields if field.column not in (*key, "id")]
    changes = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in columns)
    return Insert(model, conflict=f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}")
