"""Whether a sighting reopens a resolved issue: only what has the fix can show that it did not help.

A branch from before the fix still has the problem, and says nothing new. Where it can't be known (a commit is gone
from the mirror) the issue is reopened: a problem too many is looked at, one too few is not.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from autopack_site.kernel import clock
from issues.aging import Status, after
from issues.backlog import lock_backlog, tell
from issues.models import BacklogEntry, BacklogEvent
from issues.sightings import TOPIC, key_of
from issues.sweeps import renew_files
from runs import outbox, ports
from runs.models import Outbox

SEEN_BEFORE_FIX = "seen_before_fix"


def judge(entry_pk: int, commit: str, *, run_id: str, who: str) -> bool:
    """Reopen the entry if the commit has its fix; tell whether it was reopened. Safe to repeat and to race.

    Git is asked first, outside of the transaction; if the entry has another fix by then, git is asked about that.
    What was merged into another entry meanwhile was a sighting of that one.
    """
    while True:
        entry = _standing(entry_pk)
        fix = entry.fixed_by if entry is not None and entry.status == Status.RESOLVED else ""
        has_fix = (
            ports.workspace().contains(entry.project_id, commit, fix) if entry is not None and fix else None
        )
        with transaction.atomic():
            if entry is not None:
                tally = lock_backlog(entry.project_id)
                entry = BacklogEntry.with_merged.select_related("project").get(pk=entry.pk)
                if entry.merged_into_id is not None or (
                    entry.status == Status.RESOLVED and entry.fixed_by != fix
                ):
                    continue
            key = key_of(entry_pk, commit)
            seen_at = Outbox.objects.filter(topic=TOPIC, key=key).values_list("created_at", flat=True).first()
            outbox.settle(TOPIC, key)
            if entry is None or entry.status != Status.RESOLVED:
                return False
            if not fix and seen_at is not None and _was_resolved_since(entry, seen_at):
                return False  # by a person, who named no commit
            if has_fix is False:
                _tell_once(entry, commit, run_id=run_id, who=who)
                return False
            why = f"seen at {commit[:12]}, which has its fix {fix[:12]}"
            if has_fix is None:
                why = f"seen at {commit[:12]}; whether that has its fix {fix[:12]} can't be told"
            old = str(entry.status)
            entry.become(after(entry.status, "reopened"), tally)
            entry.opened_at, entry.fixed_by = clock.now(), ""
            entry.save(update_fields=["status", "opened_at", "fixed_by", "runs_offset", "tiers_offset"])
            tell([(entry.pk, "reopened", old, str(entry.status), why)], who=who, run_id=run_id)
        renew_files(entry.project)
        return True


def _standing(entry_pk: int) -> BacklogEntry | None:
    """Return the entry, or the one that it was merged into."""
    entry = BacklogEntry.with_merged.filter(pk=entry_pk).first()
    while entry is not None and entry.merged_into_id is not None:
        entry = BacklogEntry.with_merged.filter(pk=entry.merged_into_id).first()
    return entry


def _was_resolved_since(entry: BacklogEntry, moment: datetime) -> bool:
    return BacklogEvent.objects.filter(entry=entry, event="resolved", at__gt=moment).exists()


def _tell_once(entry: BacklogEntry, commit: str, *, run_id: str, who: str) -> None:
    known = BacklogEvent.objects.filter(entry=entry, event=SEEN_BEFORE_FIX, run_id=run_id)
    if not known.exists():
        status = str(entry.status)
        why = f"seen at {commit[:12]}, which does not have its fix {entry.fixed_by[:12]}"
        tell([(entry.pk, SEEN_BEFORE_FIX, status, status, why)], who=who, run_id=run_id)
