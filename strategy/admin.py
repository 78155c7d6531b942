"""Projects, rulesets and strategies in the admin: to be read; changes go through services."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from autopack_site.kernel.errors import AutopackError
from strategy import services
from strategy.models import Project, Ruleset, Strategy


class ReadOnlyAdmin(ModelAdmin):
    """Rows are shown, never edited: history is immutable and configuration comes in by services."""

    actions_on_top = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: rows are made by services."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: nothing here is deleted."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a form posted back would write old values over new ones."""
        return False


@admin.register(Project)
class ProjectAdmin(ReadOnlyAdmin):
    """Projects, with the one action that is harmless: which is the default."""

    list_display = ["project_id", "name", "source", "default_branch", "is_default", "ruleset", "updated_at"]
    list_select_related = ["ruleset"]
    search_fields = ["project_id", "name"]
    list_filter = ["is_default"]
    actions = ["mark_as_default"]

    def has_mark_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may say which project is the default."""
        return request.user.has_perm("strategy.change_project")

    @admin.action(description="Mark as the default project", permissions=["mark"])
    def mark_as_default(self, request: HttpRequest, queryset: QuerySet[Project]) -> None:
        """Make the one selected project the default."""
        selected = list(queryset[:2])
        if len(selected) != 1:
            self.message_user(request, "Select one project", messages.ERROR)
            return
        try:
            services.make_default(selected[0].project_id)
        except AutopackError as error:
            self.message_user(request, error.detail, messages.ERROR)
            return
        self.message_user(request, f"{selected[0].project_id} is the default project", messages.SUCCESS)


@admin.register(Ruleset)
class RulesetAdmin(ReadOnlyAdmin):
    """Every version of every project's rules."""

    list_display = ["project", "version", "sha256", "created_by", "created_at"]
    list_select_related = ["project"]
    list_filter = ["project"]
    raw_id_fields = ["project"]
    search_fields = ["project__project_id", "sha256"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ruleset]:
        """Leave the document out of lists."""
        rows: QuerySet[Ruleset] = super().get_queryset(request).defer("document")
        return rows


@admin.register(Strategy)
class StrategyAdmin(ReadOnlyAdmin):
    """The frozen strategy of each run."""

    list_display = ["run_id", "project", "ruleset", "sha256", "created_at"]
    list_select_related = ["project", "ruleset"]
    list_filter = ["project"]
    raw_id_fields = ["project", "ruleset"]
    search_fields = ["run_id", "sha256"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Strategy]:
        """Leave the large texts out of lists."""
        rows: QuerySet[Strategy] = super().get_queryset(request).defer("document", "canonical")
        return rows
