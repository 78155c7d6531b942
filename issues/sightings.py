"""A resolved issue is seen again: work for later, as git must be asked, which no transaction waits for."""

from __future__ import annotations

from issues.models import BacklogEntry
from runs import outbox

TOPIC = "issues.sighting"


def key_of(entry_pk: int, commit: str) -> str:
    """Return the key of the work: one a commit and entry, however often it is reported."""
    return f"{entry_pk}:{commit}"


def ask_later(entry: BacklogEntry, commit: str, *, run_id: str, who: str) -> None:
    """Record that the entry was seen at a commit, in the transaction of the report."""
    outbox.enqueue(
        TOPIC, key_of(entry.pk, commit), entry_id=entry.pk, commit=commit, run_id=run_id, who=who[:128]
    )
