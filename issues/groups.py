"""What an entry is known by, who reported it, and which others have its cause. Each is one bounded query."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, When

from issues.known import IssueName, Vote
from issues.models import BacklogEntry

MAX_SHOWN = 100
Shape = dict[str, Any]


def names_of_entry(entry: BacklogEntry) -> list[IssueName]:
    """Return the entry's names, its own key first, then the oldest."""
    rows = IssueName.objects.filter(project=entry.project_id, issue_key=entry.issue_key)
    own_first = Case(When(name=entry.issue_key, kind=IssueName.KEY, then=0), default=1)
    return list(rows.order_by(own_first, "pk")[:MAX_SHOWN])


def voters(entry: BacklogEntry) -> list[str]:
    """Return who reported the entry, the first first."""
    return list(
        Vote.objects.filter(entry=entry).order_by("pk").values_list("reporter", flat=True)[:MAX_SHOWN]
    )


def group_of(entry: BacklogEntry, names: list[IssueName]) -> list[Shape]:
    """Return the entries that have one of its causes at other places: linked, never made one by themselves."""
    causes = sorted({row.cause for row in names if row.cause})
    if not causes:
        return []
    others = IssueName.objects.filter(project=entry.project_id, cause__in=causes).exclude(
        issue_key=entry.issue_key
    )
    sites: dict[str, str] = {}
    for row in others.order_by("issue_key", "pk")[: 2 * MAX_SHOWN]:
        sites.setdefault(row.issue_key, row.site)
    entries = BacklogEntry.objects.filter(project=entry.project_id, issue_key__in=list(sites)[:MAX_SHOWN])
    return [
        {
            "id": other.pk,
            "issue_key": other.issue_key,
            "status": str(other.status),
            "site": sites[other.issue_key],
        }
        for other in entries.only("issue_key", "status", "project").order_by("issue_key")
    ]


def name_shape(row: IssueName) -> Shape:
    """Return one name as the routes show it."""
    return {
        "id": row.pk,
        "kind": row.kind,
        "name": row.name,
        "site": row.site,
        "is_pinned": row.is_pinned,
    }
