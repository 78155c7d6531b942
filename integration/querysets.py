"""Gate runs and git intents by what a sweep looks for."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:  # the base classes name them as text
    from integration.models import GateRun, GitIntent  # noqa: F401

OPEN = ("WAITING", "RUNNING")


class GateRunQuerySet(models.QuerySet["GateRun"]):
    """Gate runs by where they stand."""

    def open(self) -> GateRunQuerySet:
        """Gate runs without a verdict."""
        return self.filter(state__in=OPEN)

    def overdue(self, now: datetime) -> GateRunQuerySet:
        """Open gate runs past their deadline."""
        return self.open().filter(deadline_at__lte=now)

    def abandoned(self, now: datetime) -> GateRunQuerySet:
        """Running gate runs whose worker let the lease run out. No lease is an expired lease."""
        return self.filter(state="RUNNING").filter(Q(lease_expires_at=None) | Q(lease_expires_at__lte=now))


class GitIntentQuerySet(models.QuerySet["GitIntent"]):
    """Git intents by where they stand."""

    def open(self) -> GitIntentQuerySet:
        """Moves that are recorded and not known to be done."""
        return self.filter(state="PLANNED")

    def due(self, now: datetime) -> GitIntentQuerySet:
        """Open moves whose last try is long enough ago to look again."""
        return self.open().filter(due_at__lte=now)

    def given_up(self, since: datetime) -> GitIntentQuerySet:
        """Moves that were given up since then: something else had moved the branch, or nobody took the push."""
        return self.filter(state="CONFLICT", ended_at__gte=since)
