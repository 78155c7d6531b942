"""Runs with their tiers and phases."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from runs import services
from runs.admin.base import HistoryAdmin
from runs.caps import shown
from runs.models import Phase, Run, Tier
from strategy.admin import DecidingAdmin, Decision


def _cancel(request: HttpRequest, run: Run, fields: dict[str, Any]) -> str:
    services.cancel_run(run.pk, by=request.user.get_username(), why=fields["why"])
    return "Cancelled"


CANCEL = Decision(
    title="Cancel runs",
    button="Cancel them",
    note="Cancelling ends them for good: leases are taken back, gates are called off, nothing more is merged. What "
    "is on their branches stays there.",
    permission="runs.change_run",
    act=_cancel,
    is_danger=True,
)


@admin.register(Run)
class RunAdmin(DecidingAdmin, HistoryAdmin):
    """Runs, and the one thing an operator does to them."""

    deferred = ("config", "failure_reason")
    list_display = [
        "run_id", "project", "state", "safety_profile", "tokens_used", "token_cap", "cost", "minor_issues_count",
        "major_issues_count", "created_by", "created_at", "completed_at",
    ]  # fmt: skip
    list_select_related = ["project"]
    list_filter = ["state", "safety_profile", "project"]
    search_fields = ["run_id", "created_by", "correlation_id"]
    raw_id_fields = ["project", "strategy", "previous"]
    date_hierarchy = "created_at"
    actions = ["cancel_runs"]

    @admin.display(description="cost", ordering="cost_micro_usd")
    def cost(self, run: Run) -> str:
        """Return the dollars that are known to have been spent."""
        return shown("micro_usd", run.cost_micro_usd)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may change runs."""
        return request.user.has_perm("runs.change_run")

    @admin.action(description="Cancel selected runs", permissions=["cancel"])
    def cancel_runs(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Cancel each run; say which could not be."""
        return self.decide_many(request, queryset, CANCEL)


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
