"""What people decide about identity: that issues are one, or that a name is an issue of its own. Both hold later.

A merge binds names as a report that brought them all would have, so it holds whatever is reported in whatever order.
A split pins the name: from then on it alone says where its reports go, and it joins nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from autopack_site.kernel import clock
from autopack_site.kernel.errors import Invalid, problem
from issues.aging import Status
from issues.aligning import align_later
from issues.backlog import tell
from issues.deciding import locked_entry, reason_of
from issues.errors import BacklogEntryNotFound, NameNotFound, NotMergeable
from issues.evidence import stable_key
from issues.joining import absorb
from issues.known import MAX_FORMER, IssueName
from issues.models import BacklogEntry, BacklogTally
from issues.sweeps import renew_files

MAX_MERGED = 100


def merge_entries(into_pk: int, other_pks: Sequence[int], *, by: str, why: str) -> BacklogEntry:
    """Make up to 100 entries one with another, which keeps its key whatever comes; return it.

    Live runs that have seen them count one from then on (`issues.aligning`), ended ones stay as they are. Raises
    BacklogEntryNotFound, Invalid (no reason, nothing to merge, itself) and NotMergeable (another project's, merged
    already).
    """
    reason = reason_of(why)
    others = list(dict.fromkeys(other_pks))
    if not others or len(others) > MAX_MERGED or into_pk in others:
        words = f"Name 1 to {MAX_MERGED} other entries, each to become one with this entry"
        raise Invalid([problem("value_error", ["entries"], words)])
    with transaction.atomic():
        kept, tally = _locked(into_pk)
        found = {entry.pk: entry for entry in BacklogEntry.with_merged.filter(pk__in=others)}
        for pk in others:
            if pk not in found or found[pk].project_id != kept.project_id:
                raise BacklogEntryNotFound(f"Backlog entry {pk} not found")
            if found[pk].merged_into_id is not None:
                raise NotMergeable(f"Entry {pk} is one issue with entry {found[pk].merged_into_id} already")
        own = _own_name(kept)
        gone = [found[pk].issue_key for pk in others]
        for pk in others:
            entry = found[pk]
            entry.tell_ages(tally)
            former = [entry.issue_key, *_own_name(entry).former]
            own.former = sorted({*own.former, *former} - {own.name})[:MAX_FORMER]
            IssueName.objects.filter(project=kept.project_id, issue_key=entry.issue_key).update(
                issue_key=kept.issue_key, is_fixed=False
            )
            moves = absorb(kept, entry, tally)
            tell(((*move[:4], f"{reason} ({move[4]})") for move in moves), who=by, run_id="")
        align_later(kept.project_id, gone)
        own.is_fixed = True
        own.save(update_fields=["former", "is_fixed"])
    renew_files(kept.project)
    return kept


def split_name(entry_pk: int, name_pk: int, *, by: str, why: str, as_key: str = "") -> BacklogEntry:
    """Make a name of an entry an issue of its own, to which its later reports go; return the new entry.

    A key is its own issue's key; a place needs one (`as_key`) that nobody has used. What was counted stays where it
    was counted. Raises BacklogEntryNotFound, NameNotFound, Invalid (no reason, a key that is missing or known) and
    NotMergeable for the key that the entry goes by.
    """
    reason = reason_of(why)
    with transaction.atomic():
        entry, tally = _locked(entry_pk)
        row = IssueName.objects.filter(
            pk=name_pk, project=entry.project_id, issue_key=entry.issue_key
        ).first()
        if row is None:
            raise NameNotFound(f"Entry {entry_pk} has no name {name_pk}")
        if row.kind == IssueName.KEY and row.name == entry.issue_key:
            raise NotMergeable(f"The entry goes by {row.name}: split its other names off, and merge those")
        key = row.name if row.kind == IssueName.KEY else _new_key(entry, as_key)
        own = _own_name(entry)
        own.former = [former for former in own.former if former != key]
        own.save(update_fields=["former"])
        if row.kind == IssueName.PLACE:
            _own_name(entry, key=key)
        IssueName.objects.filter(project=entry.project_id, kind=IssueName.KEY, name=key).update(
            issue_key=key,
            is_fixed=True,
            is_pinned=True,
            former=[],  # those went with it, and stay with the entry
        )
        IssueName.objects.filter(pk=row.pk).update(issue_key=key, is_pinned=True)
        new = _split_off(entry, key, tally)
        told = f"{reason} ({row.site or key} is not {entry.issue_key})"
        tell([(new.pk, "split", "", str(new.status), told)], who=by, run_id="")
        tell([(entry.pk, "split", str(entry.status), str(entry.status), told)], who=by, run_id="")
    renew_files(entry.project)
    return new


def _split_off(entry: BacklogEntry, key: str, tally: BacklogTally) -> BacklogEntry:
    now = clock.now()
    new = BacklogEntry(
        project_id=entry.project_id,
        issue_key=key,
        category=entry.category,
        base_severity=entry.base_severity,
        effective_severity=entry.effective_severity,
        occurrence_count=0,
        first_seen_run_id=entry.first_seen_run_id,
        last_seen_run_id=entry.last_seen_run_id,
        first_seen_at=entry.first_seen_at,
        last_seen_at=entry.last_seen_at,
        opened_at=now,
        paths=entry.paths,
        scopes=entry.scopes,
    )
    new.become(Status.OPEN, tally)
    new.save()
    return new


def _own_name(entry: BacklogEntry, *, key: str = "") -> IssueName:
    """Return the name that is the entry's key (or another key of its project), made if nobody reported it yet."""
    name = key or entry.issue_key
    row, _made = IssueName.objects.get_or_create(
        project_id=entry.project_id,
        kind=IssueName.KEY,
        name=name,
        defaults={"issue_key": name, "created_at": clock.now()},
    )
    return row


def _new_key(entry: BacklogEntry, as_key: str) -> str:
    key = stable_key(as_key.strip())
    if not key:
        raise Invalid([problem("missing", ["issue_key"], "A place needs the key that its issue goes by")])
    known = IssueName.objects.filter(project=entry.project_id, kind=IssueName.KEY, name=key)
    if known.exists() or BacklogEntry.with_merged.filter(project=entry.project_id, issue_key=key).exists():
        raise Invalid([problem("value_error", ["issue_key"], "An issue has this key already")])
    return key


def _locked(entry_pk: int) -> tuple[BacklogEntry, BacklogTally]:
    entry, tally = locked_entry(entry_pk, among=BacklogEntry.with_merged)
    if entry.merged_into_id is not None:
        raise NotMergeable(f"Entry {entry_pk} is one issue with entry {entry.merged_into_id} already")
    return entry, tally
