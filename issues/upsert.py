"""One statement that inserts rows or overwrites those of the same key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models


def upsert(model: type[models.Model], rows: Iterable[Any], unique: list[str]) -> None:
    """Insert rows or overwrite those of the same key, in one statement."""
    fresh = list(rows)
    for row in fresh:
        row.pk = None  # the key decides which row it is; rows with and without ids would need two statements
    names = [column.name for column in model._meta.concrete_fields]
    model._default_manager.bulk_create(
        fresh,
        update_conflicts=True,
        unique_fields=unique,
        update_fields=[name for name in names if name not in (*unique, "id")],
    )
