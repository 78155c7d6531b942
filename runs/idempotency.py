"""Idempotency keys: a POST that is sent again with its key is carried out once and answered alike.

`begin` takes the key for one request, or finds what was answered; the request's `Turn` then keeps its answer
or gives the key back. A request that dies leaves its row behind: after OWNER_S by the database's clock the
next one with the same key and body carries it out again. So the promise across the death of a process is the
routes' own: what a POST has done already it refuses to do twice, or does again to the same effect.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from autopack_site.kernel import clock
from autopack_site.kernel.errors import Conflict
from autopack_site.kernel.ids import new_id
from runs.models import KeptAnswer
from runs.querysets import KeptAnswerQuerySet
from runs.waiting import WaitersFull, waiters

log = structlog.get_logger(__name__)
KEPT_FOR = timedelta(days=7)
LOOK_EVERY_S = 0.1
SWEEP_BATCH = 1000

# One statement, so that of two connections one takes the key. A row is free again when its time is over, or
# when the request that holds it has not answered in the time that it had.
_TAKE = """
INSERT INTO runs_keptanswer AS kept (digest, fingerprint, owner, owner_until, kept_until, headers)
VALUES (%(digest)s, %(fingerprint)s, %(owner)s,
        clock_timestamp() + %(owner_for)s, clock_timestamp() + %(kept_for)s, '{}')
ON CONFLICT (digest) DO UPDATE SET
    fingerprint = excluded.fingerprint, owner = excluded.owner, owner_until = excluded.owner_until,
    kept_until = excluded.kept_until, status = NULL, headers = excluded.headers, body = NULL
WHERE kept.kept_until <= clock_timestamp()
   OR (kept.status IS NULL AND kept.owner_until <= clock_timestamp()
       AND kept.fingerprint = excluded.fingerprint)
RETURNING owner
"""


class KeyReused(Conflict):
    """The key came before, with another body or query."""

    code = "key-reused"
    title = "The idempotency key belongs to another request"


class InProgress(Conflict):
    """The first request with this key is still at work."""

    code, retryable = "in-progress", True
    title = "The first request with this idempotency key is still at work"


class AnswerNotKept(Conflict):
    """It was carried out, but its answer showed a secret, which is never stored."""

    code = "answer-not-kept"
    title = "The first answer showed a secret once and was not kept"


@dataclass(frozen=True)
class Kept:
    """An answer as it was given. Header names are as sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Turn:
    """One request's hold on a key."""

    digest: str
    owner: str

    def keep(self, answer: Kept, *, with_body: bool = True) -> None:
        """Keep the answer for KEPT_FOR. Without its body a repeat is refused with AnswerNotKept.

        Never raises for a database that fails: the answer goes out, and the key is free after OWNER_S.
        """
        try:
            self._row().update(
                status=answer.status,
                headers=dict(answer.headers) if with_body else {},
                body=answer.body if with_body else None,
            )
        except DatabaseError as error:
            log.warning("idempotency.not_kept", error=type(error).__name__)

    def give_back(self) -> None:
        """Free the key: nothing was decided. Never raises for a database that fails."""
        try:
            self._row().delete()
        except DatabaseError as error:
            log.warning("idempotency.not_given_back", error=type(error).__name__)

    def _row(self) -> KeptAnswerQuerySet:
        """Return the row if it is still this request's: one that was overtaken changes nothing."""
        return KeptAnswer.objects.filter(digest=self.digest, owner=self.owner)


def digest_of(*parts: str) -> str:
    """Return what a key is stored as. Parts can't run into each other: none holds a NUL."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def begin(digest: str, fingerprint: str) -> Turn | Kept:
    """Return this request's turn, or the answer that was kept. Call it outside any transaction.

    Waits up to IDEMPOTENCY_WAIT_S for a first request that is at work, as one of the process's MAX_WAITERS.
    Raises KeyReused, InProgress and AnswerNotKept.
    """
    deadline = time.monotonic() + settings.IDEMPOTENCY_WAIT_S
    with ExitStack() as place:
        is_waiting = False
        while True:
            turn = _take(digest, fingerprint)
            if turn is not None:
                return turn
            row = KeptAnswer.objects.filter(digest=digest).first()
            if row is None:
                continue  # given back meanwhile
            if row.fingerprint != fingerprint:
                raise KeyReused("This key came before with another body: send a key of its own")
            if row.status is not None:
                return _kept(row)
            if time.monotonic() >= deadline:
                raise InProgress
            if not is_waiting:
                try:
                    place.enter_context(waiters.place())
                except WaitersFull:
                    raise InProgress from None
                is_waiting = True
            time.sleep(LOOK_EVERY_S)


def sweep(limit: int = SWEEP_BATCH) -> int:
    """Delete up to limit answers whose time is over; return how many. Two sweeps do not hinder each other."""
    over = KeptAnswer.objects.over(clock.database_now()).order_by("kept_until")
    names = list(over.values_list("digest", flat=True)[:limit])
    # Asked again: one may have been taken anew since it was read.
    deleted, _ = KeptAnswer.objects.over(clock.database_now()).filter(digest__in=names).delete()
    return deleted


def _take(digest: str, fingerprint: str) -> Turn | None:
    turn = Turn(digest, new_id())
    values = {
        "digest": digest,
        "fingerprint": fingerprint,
        "owner": turn.owner,
        "owner_for": timedelta(seconds=settings.IDEMPOTENCY_OWNER_S),
        "kept_for": KEPT_FOR,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        return turn if cursor.fetchone() else None


def _kept(row: KeptAnswer) -> Kept:
    if row.body is None:
        raise AnswerNotKept("Done, but what it answered is not kept: revoke what it made and ask anew")
    assert row.status is not None
    return Kept(row.status, row.headers, bytes(row.body))
