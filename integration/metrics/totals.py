"""Sealed totals: what was counted once of the days that are over, so that no scrape counts it again.

A day is sealed when another whole one lies between it and now: a row's moment is the clock of the host that
wrote it, in a transaction that ends soon after, so none comes later into a sealed day unless that clock was a
day off.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from autopack_site.kernel import clock
from integration.metrics import facts
from integration.metrics.cells import Cell, Key, added
from integration.models import MetricSeal, MetricTotal

SEAL_LOCK = 7_301_004
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def sealed_until() -> datetime:
    """Return up to when totals are sealed; the beginning of time when they never were."""
    return MetricSeal.objects.values_list("until", flat=True).first() or BEGINNING


def read() -> tuple[datetime, list[Cell]]:
    """Return up to when counters are sealed, and their cells up to now. Use in a snapshot. Eight queries.

    Cells come in the order in which their series first appeared, and sealing does not change it.
    """
    until = sealed_until()
    return until, added([*_sealed(), *facts.read((until, None))])


@transaction.atomic
def seal() -> bool:
    """Seal the days that are over; tell whether there were any. Two at once do the work once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEAL_LOCK])
        if not cursor.fetchone()[0]:
            return False
    since = sealed_until()
    until = _midnight(clock.database_now()) - timedelta(days=1)
    if until <= since:
        return False
    rows = {_key(row): row for row in MetricTotal.objects.all()}
    fresh = []
    for cell in added(facts.read((since, until))):
        row = rows.get(cell.key)
        if row is None:
            key = cell.key
            row = MetricTotal(metric=key.metric, labels=list(key.labels), le=key.le, count=0, total=0.0)
            fresh.append(row)
        row.count += cell.count
        row.total += cell.total
    MetricTotal.objects.bulk_create(fresh)
    MetricTotal.objects.bulk_update(
        [row for row in rows.values() if row.pk], ["count", "total"], batch_size=500
    )
    MetricSeal.objects.update_or_create(pk=1, defaults={"until": until})
    return True


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _key(row: MetricTotal) -> Key:
    return Key(row.metric, tuple(row.labels), row.le)


def _sealed() -> list[Cell]:
    return [Cell(_key(row), row.count, row.total) for row in MetricTotal.objects.order_by("pk")]
