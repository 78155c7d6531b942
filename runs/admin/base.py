"""What the admin's tables of runs have in common."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from strategy.admin import ReadOnlyAdmin


class HistoryAdmin(ReadOnlyAdmin):
    """Rows that nobody edits by hand, in lists that may be long. `deferred` texts stay out of the lists."""

    deferred: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave large texts out; a single row's page loads them when it shows them."""
        rows: QuerySet[Any] = super().get_queryset(request).defer(*self.deferred)
        return rows
