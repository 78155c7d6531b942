"""Pages of lists by keyset: opaque cursors that name the last row seen, `{key}~{key}...`.

Rows that come meanwhile stand before or after every cursor, so no page repeats or skips one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, IntegerField, Model, Q, QuerySet

from autopack_site.kernel.errors import Invalid, problem
from autopack_site.kernel.ids import is_valid_id
from runs.models import Run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIME = re.compile(r"[0-9]{1,17}")  # microseconds, up to the year 5138
_NUMBER = re.compile(r"[0-9]{1,18}")
NEWEST_RUNS = ("-created_at", "run_id")


def cursor_after(run: Any) -> str:
    """Return the cursor of the runs after this one."""
    return _cursor(run, NEWEST_RUNS)


def page(runs: QuerySet[Run, Any], *, cursor: str | None, limit: int) -> tuple[list[Any], str | None]:
    """Return up to limit runs, newest first, from the cursor on, and the next page's cursor or None.

    Rows may be runs, or tuples that have a run's `created_at` and `run_id`. Raises Invalid for a cursor that was
    never given out.
    """
    return keyset_page(runs, NEWEST_RUNS, cursor=cursor, limit=limit)


def keyset_page(
    rows: QuerySet[Any, Any], order: Sequence[str], *, cursor: str | None, limit: int
) -> tuple[list[Any], str | None]:
    """Return up to limit rows in the order (field names, `-` for descending), and the next cursor or None.

    Together the fields must tell rows apart; text ones hold ids (kernel.ids). Raises Invalid.
    """
    if cursor is not None:
        rows = rows.filter(_beyond(order, _read(cursor, rows.model, order)))
    found = list(rows.order_by(*order)[: limit + 1])
    if len(found) <= limit:
        return found, None
    return found[:limit], _cursor(found[limit - 1], order)


def _cursor(row: Any, order: Sequence[str]) -> str:
    parts = []
    for name in order:
        value = getattr(row, name.removeprefix("-"))
        parts.append(str((value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value))
    return "~".join(parts)


def _read(cursor: str, model: type[Model], order: Sequence[str]) -> list[Any]:
    parts = cursor.split("~", len(order) - 1)
    fields = [model._meta.get_field(name.removeprefix("-")) for name in order]
    values = [_value(field, part) for field, part in zip(fields, parts, strict=False)]
    if len(values) != len(order) or None in values:
        raise Invalid([problem("value_error", ["query", "cursor"], "Not a cursor of this list")])
    return values


def _value(field: Any, text: str) -> Any:
    """Return the value that a part of a cursor stands for; None for what can't be one."""
    if isinstance(field, DateTimeField):
        return _EPOCH + int(text) * _MICROSECOND if _TIME.fullmatch(text) else None
    if isinstance(field, IntegerField):
        return int(text) if _NUMBER.fullmatch(text) else None
    return text if is_valid_id(text) else None


def _beyond(order: Sequence[str], values: Sequence[Any]) -> Q:
    """Return the condition of the rows that come after the one with these values."""
    beyond, same = Q(), Q()
    for name, value in zip(order, values, strict=True):
        field, way = (name[1:], "lt") if name.startswith("-") else (name, "gt")
        beyond |= same & Q(**{f"{field}__{way}": value})
        same &= Q(**{field: value})
    return beyond
