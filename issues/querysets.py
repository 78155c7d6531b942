"""The words of the field, as querysets."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from issues.aging import AGEABLE_STATUSES, LIVE_STATUSES, Status, Thresholds

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

    def open_before(self, moment: datetime | None) -> BacklogEntryQuerySet:
        """Live entries opened before the moment; None means now."""
        return self.live() if moment is None else self.live().filter(opened_at__lt=moment)

    def past(self, thresholds: Thresholds) -> BacklogEntryQuerySet:
        """Entries that have reached a threshold and are not marked for it yet."""
        return self.filter(status__in=AGEABLE_STATUSES).filter(
            Q(age_in_runs__gte=thresholds.runs) | Q(age_in_tiers__gte=thresholds.tiers)
        )
