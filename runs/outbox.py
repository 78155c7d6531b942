"""The outbox: intents that commit with the facts that need them (ENGINE.md).

`enqueue` writes the row and sends a message after the commit; `settle` deletes it in the transaction that
does the work; `resend` is the sweep's. A lost, late or doubled message changes nothing but the delay.
`due_at` is when the next message goes out, by the database's clock: no host's own clock can hide work.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from autopack_site.kernel import clock
from autopack_site.kernel.correlation import MESSAGE_HEADER
from autopack_site.kernel.problem import correlation_id
from autopack_site.kernel.statements import Statement
from runs.models import Outbox

log = structlog.get_logger(__name__)
# Each move of a run records some: as text, since building it anew would take longer than running it.
_INSERT = """
INSERT INTO runs_outbox (topic, key, reference, correlation_id, created_at, due_at, sent_at, sends)
VALUES (%s, %s, %s, %s, %s, statement_timestamp() + %s * interval '1 second', {sent})
ON CONFLICT DO NOTHING
"""
_put_off = Statement(_INSERT.format(sent="NULL, 0"), label="put_off")
_at_once = Statement(_INSERT.format(sent="statement_timestamp(), 1"), label="put_at_once")
_settle = Statement("DELETE FROM runs_outbox WHERE topic = %s AND key = %s", label="settle")
MAX_BACKOFF = 6  # resend intervals double up to 2**6 times the first


def enqueue(topic: str, key: str, *, delay_s: float = 0.0, **reference: str | int) -> None:
    """Record that `topic` must run for `key` with `reference` as its arguments; must be in a transaction.

    The first message goes out after the commit, or delay_s seconds from now. An open row for the same work
    is enough: a second call adds nothing but a message.
    """
    later = delay_s > 0
    row = Outbox(topic=topic, key=key, reference=reference, correlation_id=correlation_id() or "")
    values: list[Any] = [topic, key, json.dumps(reference), row.correlation_id, clock.now()]
    if later:
        _put_off([*values, delay_s])
    else:
        _at_once([*values, settings.OUTBOX_RESEND_S])
        transaction.on_commit(lambda: _send(row))


def postpone(topic: str, key: str, *, delay_s: float) -> None:
    """Put open work off: nothing but the message that goes out in delay_s seconds should start it."""
    due_at = Now() + timedelta(seconds=delay_s)
    Outbox.objects.filter(topic=topic, key=key).update(due_at=due_at, sent_at=None, sends=0)


def is_put_off(topic: str, key: str) -> bool:
    """Tell whether open work waits for a time that has not come; a message that says otherwise is an old one."""
    return Outbox.objects.filter(topic=topic, key=key, sent_at=None, due_at__gt=Now()).exists()


def settle(topic: str, key: str) -> None:
    """Delete the open row: its work is done in this very transaction."""
    _settle([topic, key])


def nudge(topic: str, key: str) -> None:
    """Send a message for open work now, after the commit: something that it waited for has happened."""
    row = Outbox.objects.filter(topic=topic, key=key).first()
    if row is not None:
        transaction.on_commit(lambda: _send(row))


class _Taken(threading.local):
    """The topics that this thread does itself, and their rows so far."""

    def __init__(self) -> None:
        self.topics: frozenset[str] = frozenset()
        self.rows: list[Outbox] = []


_taken = _Taken()


@contextmanager
def taken(*topics: str) -> Iterator[list[Outbox]]:
    """Send no message for work of these topics that this thread records in the block: the caller does it next.

    Yields the list of their rows, filled as transactions commit. The rows are in the outbox like any other, so
    that the sweep finds them if the caller dies; what the caller leaves undone it must `publish`.
    """
    before = _taken.topics, _taken.rows
    rows: list[Outbox] = []
    _taken.topics, _taken.rows = frozenset(topics), rows
    try:
        yield rows
    finally:
        _taken.topics, _taken.rows = before


def _send(row: Outbox) -> None:
    if row.topic in _taken.topics:
        _taken.rows.append(row)
    else:
        publish(row)


def publish(row: Outbox) -> bool:
    """Send one message. Never raises: a broker that is away costs only the time until the sweep."""
    task, queue = settings.AUTOPACK_TOPICS[row.topic]
    try:
        current_app.send_task(
            task,
            kwargs=row.reference,
            queue=queue,
            headers={MESSAGE_HEADER: row.correlation_id},
            ignore_result=True,
        )
    except Exception as error:  # any broker fault: kombu raises many unrelated types
        log.warning("outbox.publish_failed", topic=row.topic, key=row.key, error=type(error).__name__)
        return False
    return True


def resend(limit: int = 500) -> int:
    """Send again what is due and still open; return how many messages went out.

    The interval doubles with each message. It moves `due_at`, so that rows sent often never crowd out others.
    """
    now = clock.database_now()
    with transaction.atomic():
        rows = list(Outbox.objects.due(now).select_for_update(skip_locked=True).order_by("due_at")[:limit])
        for row in rows:
            wait_s = settings.OUTBOX_RESEND_S * 2 ** min(row.sends, MAX_BACKOFF)
            row.sent_at, row.sends, row.due_at = now, row.sends + 1, now + timedelta(seconds=wait_s)
        Outbox.objects.bulk_update(rows, ["sent_at", "sends", "due_at"])
    return sum(publish(row) for row in rows)
