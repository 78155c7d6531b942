"""Very many runs, written by a statement a table: what the board and the trends are measured with."""

from __future__ import annotations

from typing import Any

from django.db import connection

from runs.models import Run
from tests.factories import make_run


def seed(count: int) -> None:
    """Write `count` runs of 2 tiers and 4 phases each, in every state, by a statement a table."""
    model = make_run(tiers=2, phases_per_tier=2)
    first, states = Run.objects.count(), [str(state) for state in Run.State]
    numbers: dict[str, Any] = {"first": first, "last": first + count - 1, "model": model.pk, "states": states}
    copies = f"bulk_{first}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE {copies} ON COMMIT DROP AS SELECT 'bulk-' || n AS run_id, n,"
            " (%(states)s::text[])[1 + n %% %(kinds)s] AS state"
            " FROM generate_series(%(first)s, %(last)s) AS n",
            {**numbers, "kinds": len(states)},
        )
        for table, columns in (
            ("strategy_strategy", {"run_id": "c.run_id", "document": "'{}'", "canonical": "''"}),
            (
                "runs_run",
                {
                    "run_id": "c.run_id",
                    "state": "c.state",
                    "strategy_id": "(SELECT id FROM strategy_strategy s WHERE s.run_id = c.run_id)",
                    "created_at": "m.created_at - c.n * interval '1 minute'",
                    "completed_at": "CASE WHEN c.state LIKE 'DONE%%' THEN m.created_at END",
                },
            ),
            ("runs_tier", {"run_id": "c.run_id"}),
            (
                "runs_phase",
                {
                    "run_id": "c.run_id",
                    "tier_id": "(SELECT t.id FROM runs_tier t JOIN runs_tier o USING (tier_id)"
                    " WHERE o.id = m.tier_id AND t.run_id = c.run_id)",
                },
            ),
        ):
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND column_name <> 'id'",
                [table],
            )
            names = [name for (name,) in cursor.fetchall()]
            values = ", ".join(columns.get(name, f'm."{name}"') for name in names)
            listed = ", ".join(f'"{name}"' for name in names)
            cursor.execute(
                f"INSERT INTO {table} ({listed}) SELECT {values} FROM {table} m, {copies} c"
                " WHERE m.run_id = %(model)s",
                numbers,
            )
