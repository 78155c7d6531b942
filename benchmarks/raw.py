"""Raw SQL for the floors: texts written once, on a plain connection, nothing between them and the database.

The server plans them anew at each call; ours has what is asked most prepared there (`kernel.statements`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2.extras import Json

# What a database cursor and connection of psycopg2 are; it has no types of its own.
Cursor = Any
Connection = Any


def connect(url: str | None = None) -> Connection:
    """Open a connection of the floor's own, by default to the benchmarks' database."""
    return psycopg2.connect(url or os.environ["DATABASE_URL"])


def now() -> datetime:
    """Return the time as rows hold it."""
    return datetime.now(UTC)


class Insert:
    """INSERT INTO one table, all columns; those that are not given are as the model's defaults have them.

    `conflict` is what follows the values (`ON CONFLICT ...`). Built once, outside what is timed.
    """

    def __init__(self, model: Any, *, conflict: str = "") -> None:
        fields = [field for field in model._meta.concrete_fields if not _is_serial(field)]
        self.columns = [field.column for field in fields]
        self.defaults = {field.column: _plain(field.get_default()) for field in fields}
        self.has_serial = len(fields) < len(model._meta.concrete_fields)
        names = ", ".join(f'"{name}"' for name in self.columns)
        self.head = f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES '
        self.values = "(" + ", ".join(["%s"] * len(self.columns)) + ")"
        self.tail = (" " + conflict if conflict else "") + (" RETURNING id" if self.has_serial else "")

    def __call__(self, cursor: Cursor, **values: Any) -> int | None:
        """Insert one row; return its id where the database gives it."""
        ids = self.many(cursor, [values])
        return ids[0] if ids else None

    def many(self, cursor: Cursor, rows: Sequence[dict[str, Any]]) -> list[int]:
        """Insert rows in one statement; return their ids where the database gives them."""
        parameters = [_plain(row.get(name, self.defaults[name])) for row in rows for name in self.columns]
        cursor.execute(self.head + ", ".join([self.values] * len(rows)) + self.tail, parameters)
        return [one[0] for one in cursor.fetchall()] if self.has_serial else []


def _is_serial(field: Any) -> bool:
    return bool(field.primary_key and field.get_internal_type().endswith("AutoField"))


def _plain(value: Any) -> Any:
    return Json(value) if isinstance(value, (dict, list)) else value
