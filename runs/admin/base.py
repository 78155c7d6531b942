"""What the admin's tables of runs have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from autopack_site.kernel.errors import AutopackError
from strategy.admin import ReadOnlyAdmin


@contextmanager
def reported(model_admin: admin.ModelAdmin[Any], request: HttpRequest, subject: object) -> Iterator[None]:
    """Turn a refusal within the block into a message that names the subject."""
    try:
        yield
    except AutopackError as error:
        model_admin.message_user(request, f"{subject}: {error.detail} ({error.code})", messages.ERROR)


class HistoryAdmin(ReadOnlyAdmin):
    """Rows that nobody edits by hand, in lists that may be long. `deferred` texts stay out of the lists."""

    deferred: tuple[str, ...] = ()
    list_per_page = 50
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a form that saves would write back what it read long ago."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave large texts out; a single row's page loads them when it shows them."""
        rows: QuerySet[Any] = super().get_queryset(request).defer(*self.deferred)
        return rows
