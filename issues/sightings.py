"""A resolved issue is seen again: work for later, as git must be asked, which no transaction waits for."""

from __future__ import annotations

from issues.models import BacklogEntry
from runs import outbox
from runs.models import Phase, Run

TOPIC = "issues.sighting"


def key_of(entry_pk: int, commit: str) -> str:
    """Return the key of the work: one a commit and entry, however often it is reported."""
    return f"{entry_pk}:{commit}"


def base_of(run: Run, phase: Phase) -> str:
    """Return what a report about a phase that names no attempt has seen: what the phase's last one began from.

    Before there is one it is the run's branch. "" while the run has no commit.
    """
    bases = phase.attempts.exclude(base_commit="").order_by("-created_at", "-pk")
    return bases.values_list("base_commit", flat=True).first() or run.head_commit or run.base_commit


def ask_later(entry: BacklogEntry, commit: str, *, run_id: str, who: str) -> None:
    """Record that the entry was seen at a commit, in the transaction of the report."""
    outbox.enqueue(
        TOPIC, key_of(entry.pk, commit), entry_id=entry.pk, commit=commit, run_id=run_id, who=who[:128]
    )
