"""Places in the list of runs, as opaque cursors: `{created_at in microseconds}~{run_id}`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from autopack_site.kernel.errors import Invalid, problem
from autopack_site.kernel.ids import is_valid_id
from runs.models import Run

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CURSOR = re.compile(r"([0-9]{1,17})~(.+)")


def cursor_after(run: Any) -> str:
    """Return the cursor of the runs after this one."""
    return f"{(run.created_at - _EPOCH) // _MICROSECOND}~{run.run_id}"


def page(runs: QuerySet[Run, Any], *, cursor: str | None, limit: int) -> tuple[list[Any], str | None]:
    """Return up to limit runs, newest first, from the cursor on, and the next page's cursor or None.

    Rows may be runs, or tuples that have a run's `created_at` and `run_id`. Runs that start meanwhile stand
    before every cursor, so no page repeats or skips one. Raises Invalid for a cursor that was never given out.
    """
    if cursor is not None:
        created_at, run_id = _read(cursor)
        runs = runs.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, run_id__gt=run_id))
    found = list(runs.order_by("-created_at", "run_id")[: limit + 1])
    if len(found) <= limit:
        return found, None
    return found[:limit], cursor_after(found[limit - 1])


def _read(cursor: str) -> tuple[datetime, str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None or not is_valid_id(match[2]):
        raise Invalid([problem("value_error", ["query", "cursor"], "Not a cursor of this list")])
    return _EPOCH + int(match[1]) * _MICROSECOND, match[2]
