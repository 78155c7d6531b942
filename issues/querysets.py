"""The words of the field, as querysets."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models

from issues.aging import LIVE_STATUSES, Status

if TYPE_CHECKING:  # the base classes name them as text
    from issues.models import BacklogEntry, Issue  # noqa: F401


class IssueQuerySet(models.QuerySet["Issue"]):
    """A phase's issues."""

    def counted(self) -> IssueQuerySet:
        """Issues that count: somebody saw them who did not expect them."""
        return self.filter(expected_fail=False)


class BacklogEntryQuerySet(models.QuerySet["BacklogEntry"]):
    """A backlog's entries by where they stand."""

    def live(self) -> BacklogEntryQuerySet:
        """Entries that are neither resolved nor accepted."""
        return self.filter(status__in=LIVE_STATUSES)

    def lapsed(self, now: datetime) -> BacklogEntryQuerySet:
        """Entries that were accepted until a time that has come."""
        return self.filter(status=Status.ACCEPTED, accepted_until__lte=now)

    def opened_since(self, moment: datetime) -> BacklogEntryQuerySet:
        """Live entries opened at the moment or after it: what began then doesn't age them."""
        return self.live().filter(opened_at__gte=moment)

    def oldest(self) -> BacklogEntryQuerySet:
        """One project's live entries, the oldest first: their offsets order them as their ages do."""
        return self.live().order_by("-runs_offset", "-tiers_offset", "issue_key")
