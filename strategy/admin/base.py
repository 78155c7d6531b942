"""Tables that are read: of any length, with what others wrote in them shown as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from autopack_site.kernel.visible import visible
from strategy.models import Project

COUNTED = 10_000
MAX_PROJECTS = 200
LIST_CHARS = 120


class AtLeast(int):
    """A count that was stopped: there are as many, and more."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable at run time
    """Counts no further than 10,000 rows: a list of a million is no slower than one of ten thousand.

    Rows beyond are reached by filters and search, as they would be in a list of 200 pages.
    """

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or that there are more than are counted."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        found = rows.order_by()[: COUNTED + 1].count()
        return AtLeast(COUNTED) if found > COUNTED else found


class ProjectFilter(admin.SimpleListFilter):
    """Rows of one project. Django's own filter would read every project's whole configuration."""

    title = "project"
    parameter_name = "project__id__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the projects, or the first of very many."""
        rows = Project.objects.order_by("project_id").values_list("pk", "project_id")
        return [(str(pk), name) for pk, name in rows[:MAX_PROJECTS]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the chosen project's rows."""
        wanted = self.value() or ""
        if not wanted:
            return queryset
        is_key = wanted.isascii() and wanted.isdigit() and len(wanted) < 18
        return queryset.filter(project=int(wanted)) if is_key else queryset.none()


class ReadOnlyAdmin(ModelAdmin):
    """Rows are shown, never edited: history is immutable and everything else changes by services."""

    actions_on_top = True
    list_per_page = 50
    paginator = CappedPaginator
    show_facets = admin.ShowFacets.NEVER  # a count a choice over the whole table
    show_full_result_count = False

    class Media:
        css = {"all": ["strategy/admin.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: rows are made by services."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nothing here is deleted."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a form posted back would write old values over new ones."""
        return False


def foreign(field: str, label: str = "", *, limit: int | None = None) -> Callable[[Any, Model], str]:
    """Return a column of what agents wrote in a field: as text, each character that can't be seen as an escape.

    `limit` characters are shown, all of them for None. Values that are no text are shown as JSON.
    """

    @admin.display(description=label or field.rsplit("__", 1)[-1].replace("_", " "), empty_value="-")
    def column(_admin: Any, row: Model) -> str:
        value: Any = row
        for name in field.split("__"):
            value = getattr(value, name, None)
        return clipped(as_text(value), limit)

    return column


def as_text(value: Any) -> str:
    """Return a value as text to be shown: nothing in it acts."""
    if value is None or value == [] or value == {}:
        return ""
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))


def clipped(text: str, limit: int | None) -> str:
    """Return the first `limit` characters, saying so when there are more."""
    return text if limit is None or len(text) <= limit else f"{text[:limit]}…"


def block(text: str) -> SafeString:
    """Return text as a block that keeps its lines."""
    return format_html('<pre class="desk-block" tabindex="0">{}</pre>', visible(text))
