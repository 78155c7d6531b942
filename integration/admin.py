"""Gate runs and branch moves in the admin: to be read. They change by workers and sweeps alone."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from integration.models import GateRun, GitIntent
from strategy.admin import ReadOnlyAdmin


@admin.register(GateRun)
class GateRunAdmin(ReadOnlyAdmin):
    """Gates with their verdicts."""

    list_display = [
        "id", "run", "phase", "number", "profile", "state", "verdict", "owner", "created_at", "started_at",
        "ended_at",
    ]  # fmt: skip
    list_select_related = ["run", "phase__run"]
    list_filter = ["state", "verdict", "profile"]
    search_fields = ["id", "run__run_id", "candidate_sha"]
    list_per_page = 50
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[GateRun]:
        """Leave the evidence out of lists."""
        rows: QuerySet[GateRun] = super().get_queryset(request).defer("evidence", "reason", "run__config")
        return rows


@admin.register(GitIntent)
class GitIntentAdmin(ReadOnlyAdmin):
    """Recorded moves of runs' branches."""

    list_display = ["id", "run", "ref", "old_sha", "new_sha", "state", "tries", "due_at", "ended_at"]
    list_select_related = ["run"]
    list_filter = ["state"]
    search_fields = ["run__run_id", "new_sha"]
    list_per_page = 50
    show_full_result_count = False
