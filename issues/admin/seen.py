"""Issues as phases and runs have seen them: to be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from issues.models import Issue, RunIndexEntry
from runs.models import Run
from strategy.admin import ReadOnlyAdmin, foreign
from strategy.admin.base import LIST_CHARS

# Columns of rows that a list joins, and doesn't show.
_UNSHOWN_OF_RUN = ("run__config", "run__failure_reason")


@admin.register(Issue)
class IssueAdmin(ReadOnlyAdmin):
    """Issues as phases have seen them, the newest first."""

    key = foreign("issue_key", "issue key", limit=LIST_CHARS)
    seen_category = foreign("category", limit=LIST_CHARS)
    seen_source = foreign("source", limit=LIST_CHARS)
    whole_key = foreign("issue_key", "issue key")
    evidence = foreign("evidence_refs", "evidence")
    who = foreign("reporters", "reporters")
    told = foreign("description")
    task = foreign("task_category")
    how_complex = foreign("complexity")
    list_display = [
        "key", "phase", "effective_severity", "seen_source", "seen_category", "occurrence_count",
        "expected_fail", "last_seen_at",
    ]  # fmt: skip
    list_select_related = ["phase"]
    list_filter = ["effective_severity", "expected_fail"]
    search_fields = ["^issue_key"]
    search_help_text = "The beginning of an issue key, or a run's whole id"
    ordering = ["-id"]
    sortable_by = ()
    fields = readonly_fields = [
        "whole_key", "phase", "severity", "effective_severity", "expected_fail", "seen_source", "seen_category",
        "task", "how_complex", "occurrence_count", "first_seen_run", "last_seen_run", "first_seen_at",
        "last_seen_at", "who", "told", "evidence",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Issue]:
        """Leave the long texts out of the list; the page of one row loads them."""
        rows = super().get_queryset(request)
        return rows.defer("evidence_refs", "description", "reporters", "phase__limits", "phase__description")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows of a run where its id was asked for, else those whose key begins so."""
        if run_id := _run_named(search_term):
            return queryset.filter(phase__run=run_id), False
        return super().get_search_results(request, queryset, search_term)


@admin.register(RunIndexEntry)
class RunIndexEntryAdmin(ReadOnlyAdmin):
    """A run's issues by key, the newest first."""

    key = foreign("issue_key", "issue key", limit=LIST_CHARS)
    whole_key = foreign("issue_key", "issue key")
    seen_category = foreign("category", limit=LIST_CHARS)
    list_display = [
        "key", "run", "effective_severity", "seen_category", "occurrence_count", "first_phase_index",
        "last_phase_index",
    ]  # fmt: skip
    list_select_related = ["run"]
    search_fields = ["run__run_id__exact"]
    search_help_text = "A run's whole id"
    ordering = ["-id"]
    sortable_by = ()
    fields = readonly_fields = [
        "whole_key", "run", "severity", "effective_severity", "seen_category", "expected_fail",
        "occurrence_count", "first_phase_index", "last_phase_index", "seen_in_tiers", "seen_in_phases",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[RunIndexEntry]:
        """Leave what the list doesn't show of a run out."""
        rows: QuerySet[RunIndexEntry] = super().get_queryset(request)
        return rows.defer(*_UNSHOWN_OF_RUN)


def _run_named(term: str) -> str | None:
    """Return the term if a run has it as its id."""
    found = Run.objects.filter(pk=term.strip()[:128]).values_list("run_id", flat=True).first()
    return str(found) if found else None
