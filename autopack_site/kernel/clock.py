"""The clock of the process. Services take times from here, so tests can move it."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return timezone.now()


def database_now() -> datetime:
    """Return the database's time: the one clock that every host shares (leases are judged by it)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        row = cursor.fetchone()
    value: datetime = row[0]
    return value


def stamp(moment: datetime | None) -> str | None:
    """Return a time as API.md writes it: UTC, microseconds, `Z`. None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
