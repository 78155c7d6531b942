"""What people decide about a backlog's entries: that one is accepted for a time, that one is resolved."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from autopack_site.kernel import clock
from autopack_site.kernel.errors import Invalid, problem
from issues.aging import after
from issues.backlog import tell
from issues.deciding import locked_entry, reason_of
from issues.models import BacklogEntry
from issues.sweeps import renew_files
from runs import ports


def accept_entry(entry_pk: int, *, until: datetime, by: str, why: str) -> BacklogEntry:
    """Accept an entry until a time to come: neither aged nor cleaned up, and open again afterwards.

    It is kept and counted where it is seen, but a report of it no longer counts as major for its age. Accepting
    it again moves the date. Raises BacklogEntryNotFound, Invalid (a time that has passed, no reason) and
    IllegalTransition for an entry that is resolved.
    """
    if until <= clock.now():
        raise Invalid([problem("date_past", ["until"], "An acceptance ends in the future")])
    return _decide(entry_pk, "accepted", by=by, why=why, until=until)


def resolve_entry(entry_pk: int, *, by: str, why: str, commit: str = "") -> BacklogEntry:
    """Resolve an entry by hand. Once it is reported again it is reopened; with the commit that fixed it, only from
    branches that have it.

    Raises BacklogEntryNotFound, Invalid (no reason, a commit that the project's mirror has not) and
    IllegalTransition for one that is resolved already.
    """
    if commit:
        project_pk = (
            BacklogEntry.without_ages.filter(pk=entry_pk).values_list("project_id", flat=True).first()
        )
        is_name = len(commit) in (40, 64) and all(char in "0123456789abcdef" for char in commit)
        if project_pk is not None and not (
            is_name and ports.workspace().contains(project_pk, commit, commit)
        ):
            words = "The full name of a commit that Autopack has fetched or made"
            raise Invalid([problem("value_error", ["commit"], words)])
    return _decide(entry_pk, "resolved", by=by, why=why, until=None, commit=commit)


def _decide(
    entry_pk: int, event: str, *, by: str, why: str, until: datetime | None, commit: str = ""
) -> BacklogEntry:
    reason = reason_of(why)
    with transaction.atomic():
        entry, tally = locked_entry(entry_pk)
        old = entry.status
        entry.become(after(old, event), tally)
        entry.accepted_until, entry.fixed_by = until, commit
        entry.save(update_fields=["status", "accepted_until", "fixed_by", "runs_offset", "tiers_offset"])
        tell([(entry.pk, event, old, str(entry.status), reason)], who=by, run_id="", until=until)
    renew_files(entry.project)
    return entry
