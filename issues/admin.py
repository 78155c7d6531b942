"""Issues and backlogs in the admin: to be read. History changes by reports, runs and sweeps alone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline

from issues.models import BacklogEntry, BacklogEvent, Issue, RunIndexEntry
from strategy.admin import ReadOnlyAdmin


class BacklogEventInline(TabularInline):
    """An entry's history, oldest first."""

    model = BacklogEvent
    fields = readonly_fields = ["at", "event", "from_status", "to_status", "who", "why", "run_id"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: events are written with what they tell of."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the database refuses it."""
        return False


@admin.register(BacklogEntry)
class BacklogEntryAdmin(ReadOnlyAdmin):
    """The backlog, what has aged most first."""

    list_display = [
        "issue_key",
        "project",
        "status",
        "effective_severity",
        "category",
        "age_in_runs",
        "age_in_tiers",
        "occurrence_count",
        "last_seen_run_id",
        "last_seen_at",
    ]
    list_select_related = ["project"]
    list_filter = ["status", "effective_severity", "project"]
    search_fields = ["issue_key", "category"]
    ordering = ["-age_in_runs", "-age_in_tiers", "issue_key"]
    inlines = [BacklogEventInline]


@admin.register(Issue)
class IssueAdmin(ReadOnlyAdmin):
    """Issues as phases have seen them."""

    list_display = [
        "issue_key",
        "phase",
        "effective_severity",
        "source",
        "category",
        "occurrence_count",
        "expected_fail",
        "last_seen_at",
    ]
    list_select_related = ["phase"]
    list_filter = ["effective_severity", "expected_fail"]
    search_fields = ["issue_key", "phase__run__run_id"]
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Issue]:
        """Leave the long texts out of the list; the page of one row loads them."""
        rows = super().get_queryset(request)
        return rows.defer("evidence_refs", "description", "reporters", "phase__limits", "phase__description")


@admin.register(RunIndexEntry)
class RunIndexEntryAdmin(ReadOnlyAdmin):
    """A run's issues by key."""

    list_display = [
        "issue_key",
        "run",
        "effective_severity",
        "category",
        "occurrence_count",
        "first_phase_index",
        "last_phase_index",
    ]
    list_select_related = ["run"]
    list_filter = ["effective_severity"]
    search_fields = ["issue_key", "run__run_id"]
    ordering = ["-id"]
