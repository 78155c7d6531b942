"""Runs with their tiers and phases."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from runs import services
from runs.admin.base import HistoryAdmin, reported
from runs.models import Phase, Run, Tier


@admin.register(Run)
class RunAdmin(HistoryAdmin):
    """Runs, and the one thing an operator does to them."""

    deferred = ("config", "failure_reason")
    list_display = [
        "run_id", "project", "state", "safety_profile", "tokens_used", "token_cap", "minor_issues_count",
        "major_issues_count", "created_by", "created_at", "completed_at",
    ]  # fmt: skip
    list_select_related = ["project"]
    list_filter = ["state", "safety_profile", "project"]
    search_fields = ["run_id", "created_by", "correlation_id"]
    raw_id_fields = ["project", "strategy", "previous"]
    date_hierarchy = "created_at"
    actions = ["cancel_runs"]

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may change runs."""
        return request.user.has_perm("runs.change_run")

    @admin.action(description="Cancel selected runs", permissions=["cancel"])
    def cancel_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Cancel each run; say which could not be."""
        cancelled = 0
        for run_id in queryset.values_list("run_id", flat=True):
            with reported(self, request, run_id):
                services.cancel_run(run_id, by=request.user.get_username(), why="cancelled in the admin")
                cancelled += 1
        if cancelled:
            self.message_user(request, f"Cancelled: {cancelled}", messages.SUCCESS)


@admin.register(Tier)
class TierAdmin(HistoryAdmin):
    """Tiers with their caps."""

    deferred = ("description",)
    list_display = [
        "tier_id", "run", "tier_index", "state", "cleanliness", "tokens_used", "token_cap", "ci_runs_used",
        "minor_issues_count", "major_issues_count",
    ]  # fmt: skip
    list_select_related = ["run"]
    list_filter = ["state", "cleanliness"]
    search_fields = ["tier_id", "run__run_id"]
    raw_id_fields = ["run"]


@admin.register(Phase)
class PhaseAdmin(HistoryAdmin):
    """Phases with what became of them."""

    deferred = ("description", "notes", "limits", "failure_reason")
    list_display = [
        "phase_id", "run", "tier", "phase_index", "state", "task_category", "complexity", "builder_attempts",
        "auditor_attempts", "tokens_used", "commit_sha", "failure_code",
    ]  # fmt: skip
    list_select_related = ["run", "tier__run"]
    list_filter = ["state", "task_category", "complexity"]
    search_fields = ["phase_id", "run__run_id", "commit_sha"]
    raw_id_fields = ["run", "tier"]
