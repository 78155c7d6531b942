"""What every decision of a person about a backlog's entry begins with: a reason, and the entry under its lock."""

from __future__ import annotations

from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from issues.backlog import lock_backlog
from issues.errors import BacklogEntryNotFound
from issues.evidence import MAX_WHY_CHARS, storable
from issues.models import BacklogEntry, BacklogTally


def reason_of(why: str) -> str:
    """Return the reason as it is kept. Raises Invalid for one that says nothing."""
    reason = storable(why.strip(), MAX_WHY_CHARS)
    if not reason:
        raise Invalid([problem("missing", ["why"], "A reason is required: it is kept with the decision")])
    return reason


def locked_entry(
    entry_pk: int, *, among: Any = BacklogEntry.without_ages
) -> tuple[BacklogEntry, BacklogTally]:
    """Return one of the entries as it is under its backlog's lock, with its ages, and the tally.

    Needs a transaction. Raises BacklogEntryNotFound.
    """
    entries = among.filter(pk=entry_pk)
    project_pk = entries.values_list("project_id", flat=True).first()
    if project_pk is None:
        raise BacklogEntryNotFound(f"Backlog entry {entry_pk} not found")
    tally = lock_backlog(project_pk)
    entry: BacklogEntry | None = entries.select_related("project").first()
    if entry is None:  # it was merged into another while this waited
        raise BacklogEntryNotFound(f"Backlog entry {entry_pk} not found")
    entry.tell_ages(tally)
    return entry, tally
