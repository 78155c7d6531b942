"""The outbox: intents that commit with the facts that need them (ENGINE.md).

`enqueue` writes the row and sends a message after the commit; `settle` deletes it in the transaction that
does the work; `resend` is the sweep's. A lost, late or doubled message changes nothing but the delay.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction

from autopack_site.kernel import clock
from autopack_site.kernel.problem import correlation_id
from runs.models import Outbox

log = structlog.get_logger(__name__)
MAX_BACKOFF = 6  # resend intervals double up to 2**6 times the first


def enqueue(topic: str, key: str, *, due_at: datetime | None = None, **reference: Any) -> None:
    """Record that `topic` must run for `key` with `reference` as its arguments; must be in a transaction.

    An open row for the same work is enough: a second call adds nothing.
    """
    now = clock.now()
    due = due_at or now
    later = due > now
    rows = Outbox.objects.bulk_create(
        [
            Outbox(
                topic=topic,
                key=key,
                reference=reference,
                due_at=due,
                sent_at=None if later else now,
                sends=0 if later else 1,
                correlation_id=correlation_id() or "",
                created_at=now,
            )
        ],
        ignore_conflicts=True,
    )
    if not later:
        row = rows[0]
        transaction.on_commit(lambda: publish(row))


def settle(topic: str, key: str) -> None:
    """Delete the open row: its work is done in this very transaction."""
    Outbox.objects.filter(topic=topic, key=key).delete()


def nudge(topic: str, key: str) -> None:
    """Send a message for open work now, after the commit: something that it waited for has happened."""
    row = Outbox.objects.filter(topic=topic, key=key).first()
    if row is not None:
        transaction.on_commit(lambda: publish(row))


def publish(row: Outbox) -> bool:
    """Send one message. Never raises: a broker that is away costs only the time until the sweep."""
    task, queue = settings.AUTOPACK_TOPICS[row.topic]
    try:
        current_app.send_task(
            task,
            kwargs=row.reference,
            queue=queue,
            headers={"correlation_id": row.correlation_id},
            ignore_result=True,
        )
    except Exception as error:  # any broker fault: kombu raises many unrelated types
        log.warning("outbox.publish_failed", topic=row.topic, key=row.key, error=type(error).__name__)
        return False
    return True


def resend(limit: int = 500) -> int:
    """Send again what is due and still open; return how many messages went out."""
    now = clock.now()
    with transaction.atomic():
        rows = list(
            Outbox.objects.unsent(now, now - timedelta(seconds=settings.OUTBOX_RESEND_S))
            .select_for_update(skip_locked=True)
            .order_by("due_at")[:limit]
        )
        due = []
        for row in rows:
            wait_s = settings.OUTBOX_RESEND_S * 2 ** min(max(row.sends - 1, 0), MAX_BACKOFF)
            if row.sent_at is None or row.sent_at <= now - timedelta(seconds=wait_s):
                row.sent_at, row.sends = now, row.sends + 1
                due.append(row)
        Outbox.objects.bulk_update(due, ["sent_at", "sends"])
    return sum(publish(row) for row in due)
