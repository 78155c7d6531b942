"""`POST /runs/start` with 9 phases in 3 tiers, against the same rows by raw SQL in one transaction.

Ours goes through Django's client in this process: the whole stack of middleware, authentication, validation,
strategy and rows, without a socket.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, alternating, row
from benchmarks.raw import Insert, connect, now
from benchmarks.stage import make_repository

TIERS, PHASES = 3, 9
ROUNDS = 30
AIM = "<= 4x"


def body(run_id: str, project_id: str) -> dict[str, Any]:
    """Return the request for one run."""
    return {
        "run": {"run_id": run_id},
        "project_id": project_id,
        "tiers": [{"tier_id": f"t{n}", "tier_index": n, "name": f"Tier {n}"} for n in range(TIERS)],
        "phases": [
            {
                "phase_id": f"p{n}",
                "phase_index": n,
                "tier_id": f"t{n * TIERS // PHASES}",
                "name": f"Phase {n}",
                "task_category": "feature_scaffolding",
                "complexity": "medium",
            }
            for n in range(PHASES)
        ],
    }


class RawRuns:
    """Writes the rows of a run as `/runs/start` leaves them, on a plain connection."""

    def __init__(self, like: Any, url: str | None = None) -> None:
        """Take everything that does not differ from run to run from the run `like`; write to the database at url."""
        from issues.models import BacklogAging
        from runs.models import Outbox, Phase, Run, Tier, Transition
        from strategy.models import Strategy

        self.connection = connect(url)
        self.models = {"run": Insert(Run), "tier": Insert(Tier), "phase": Insert(Phase)}
        self.strategy, self.transition = Insert(Strategy), Insert(Transition)
        self.outbox = Insert(Outbox, conflict="ON CONFLICT DO NOTHING")
        self.aging = Insert(BacklogAging)
        self.run = _columns(like)
        self.frozen = _columns(like.strategy)
        self.tiers = [_columns(tier) for tier in like.tiers.all()]
        self.phases = [
            (_columns(phase), phase.tier.tier_index) for phase in like.phases.select_related("tier")
        ]

    def insert(self, run_id: str, **fields: Any) -> tuple[list[int], list[int]]:
        """Write one run in one transaction; return the ids of its tiers and phases. `fields` are the run's."""
        at, project_id = now(), self.run["project_id"]
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(
                'UPDATE "issues_backlogtally" SET "runs" = "runs" + 1 WHERE "project_id" = %s', [project_id]
            )
            self.aging(cursor, project_id=project_id, run_id=run_id, at=at)
            strategy_id = self.strategy(cursor, **{**self.frozen, "run_id": run_id, "created_at": at})
            self.models["run"](
                cursor,
                **{**self.run, "run_id": run_id, "strategy_id": strategy_id, "created_at": at, **fields},
            )
            tiers = self.models["tier"].many(cursor, [{**tier, "run_id": run_id} for tier in self.tiers])
            phases = self.models["phase"].many(
                cursor,
                [{**phase, "run_id": run_id, "tier_id": tiers[index]} for phase, index in self.phases],
            )
            event = {"machine": "run", "from_state": "PLAN_BOOTSTRAP", "to_state": "RUN_CREATED"}
            self.transition(
                cursor, run_id=run_id, subject=run_id, version=1, event="compiled", who="raw", at=at, **event
            )
            for topic in ("artefacts.write", "run.step"):
                later = at.replace(year=at.year + 1)  # nobody is to do this work
                self.outbox(cursor, topic=topic, key=run_id, due_at=later, created_at=at)
        return tiers, phases


def _columns(row_of_model: Any) -> dict[str, Any]:
    """Return a row's values by column, but for a key that the database gives."""
    return {
        field.column: getattr(row_of_model, field.attname)
        for field in row_of_model._meta.concrete_fields
        if not field.get_internal_type().endswith("AutoField")
    }


def run(folder: Path, passes: int) -> list[Row]:
    """Measure; return the row."""
    from django.test import Client

    from runs.models import Run
    from runs.tokens import create_token
    from strategy.services import add_project

    source = make_repository(folder / "start-project", 5)
    add_project(
        "bench-start",
        name="",
        source=str(source),
        config_text="version: 1\n",
        is_default=False,
        by="benchmarks",
    )
    headers = {"Authorization": f"Bearer {create_token('starter', roles=['operator'])}"}
    client = Client(headers=headers, SERVER_NAME="127.0.0.1")

    def ours(key: int | str) -> None:
        sent = json.dumps(body(f"start-{key}", "bench-start"))
        answer = client.post("/runs/start", sent, content_type="application/json")
        if answer.status_code != 201:
            raise RuntimeError(f"/runs/start answered {answer.status_code}: {answer.content[:500]!r}")

    for number in range(5):
        ours(f"warm-{number}")
    raw = RawRuns(Run.objects.get(pk="start-warm-0"))
    measured = [
        alternating(
            lambda number: raw.insert(f"raw-{number}"), ours, range(turn * ROUNDS, (turn + 1) * ROUNDS)
        )
        for turn in range(passes)
    ]
    raw.connection.close()
    return [row("/runs/start, 9 phases", measured, aim=AIM)]
