"""Projects and their configuration: added, configured by a validated text, every state of it kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from autopack_site.kernel.ids import ID_RULE
from strategy import services
from strategy.admin.base import ProjectFilter, ReadOnlyAdmin, block
from strategy.admin.decisions import DecidingAdmin, Decision, audit_line
from strategy.admin.text_views import TextChange, change_text
from strategy.admin.texts import SourceField, TextForm, differences_table, pretty
from strategy.config import load_config
from strategy.differences import Difference, differences
from strategy.models import Project, ProjectRevision
from strategy.sources import shown_source

_CONFIG_NOTE = (
    "The project's autopack.yaml: builders, auditors, gates, scopes, protected paths and branches. Runs that have "
    "started keep the configuration that they started with. A change of what patches may hold (allow, "
    "protected_paths) also makes a new version of the ruleset."
)


class NewProjectForm(TextForm):
    """A project to be added."""

    project_id = forms.CharField(
        label="Id",
        max_length=128,
        widget=UnfoldAdminTextInputWidget(),
        help_text=f"{ID_RULE}; never changed.",
    )
    name = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget())
    source = forms.CharField(
        label="Repository",
        max_length=1024,
        widget=UnfoldAdminTextInputWidget(),
        help_text="An absolute path on the worker hosts, a URL, or user@host:path. Never with a password in it.",
    )
    is_default = forms.BooleanField(
        label="The default project", required=False, widget=UnfoldBooleanWidget(),
        help_text="Meant where no project is named; another one loses the mark.",
    )  # fmt: skip
    text = SourceField(label="Configuration (YAML or JSON)", required=False)
    field_order = ["project_id", "name", "source", "is_default", "text", "why", "expected"]


class RevisionInline(TabularInline):
    """A project's configurations, newest first."""

    model = ProjectRevision
    fields = readonly_fields = ["number", "created_at", "created_by", "why"]
    ordering = ["-number"]
    extra = 0
    per_page = 20
    can_delete = False
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProjectRevision]:
        """Leave the texts to a revision's own page."""
        rows: QuerySet[ProjectRevision] = super().get_queryset(request).defer("config", "config_text")
        return rows

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: revisions are written with what they hold."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the database refuses it."""
        return False


@admin.register(Project)
class ProjectAdmin(DecidingAdmin):
    """Projects. Added and configured by services, each time with a reason."""

    list_display = [
        "project_id",
        "name",
        "repository",
        "default_branch",
        "is_default",
        "ruleset",
        "updated_at",
    ]
    list_select_related = ["ruleset"]
    search_fields = ["project_id", "name"]
    list_filter = ["is_default"]
    fields = [
        "project_id", "name", "repository", "default_branch", "is_default", "ruleset", "created_at",
        "updated_at", "config_hash", "configuration",
    ]  # fmt: skip
    readonly_fields = ["repository", "configuration"]
    inlines = [RevisionInline]
    actions_detail = ["configure", "make_default"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        """Leave documents out of lists."""
        rows: QuerySet[Project] = super().get_queryset(request)
        return rows.select_related("ruleset").defer("config", "ruleset__document")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may add projects."""
        return request.user.has_perm("strategy.add_project")

    def has_configure_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Tell whether the user may change projects."""
        return request.user.has_perm("strategy.change_project")

    @admin.display(description="Repository", ordering="source")
    def repository(self, project: Project) -> str:
        """Return where the project's repository is, without what may be a credential."""
        return shown_source(project.source)

    @admin.display(description="Configuration")
    def configuration(self, project: Project) -> str:
        """Return the configuration in force, as it was written."""
        newest = project.revisions.order_by("-number").first()
        return block(newest.config_text if newest else pretty(project.config))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Add a project by the service."""

        def preview(fields: dict[str, Any]) -> Sequence[Difference]:
            return differences({}, load_config(fields["text"]).to_json())

        def save(request: HttpRequest, fields: dict[str, Any]) -> str:
            project = services.add_project(
                fields["project_id"],
                name=fields["name"],
                source=fields["source"],
                config_text=fields["text"],
                is_default=fields["is_default"],
                by=request.user.get_username(),
            )
            self.log_addition(request, project, audit_line("Added", fields))
            return f"Project {project.project_id} added"

        change = TextChange(
            title="Add a project",
            note=_CONFIG_NOTE,
            label="Add the project",
            permission="strategy.add_project",
            back=reverse("admin:strategy_project_changelist"),
            initial={"expected": 0},
            preview=preview,
            save=save,
            form=NewProjectForm,
        )
        return change_text(self, request, change)

    @action(
        description="Change the configuration", url_path="configure", permissions=["configure"], icon="edit"
    )
    def configure(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Change a project's configuration by the service."""
        project = self.get_object(request, object_id)
        if project is None:
            raise Http404
        newest = project.revisions.order_by("-number").first()

        def preview(fields: dict[str, Any]) -> Sequence[Difference]:
            return differences(project.config, load_config(fields["text"]).to_json())

        def save(request: HttpRequest, fields: dict[str, Any]) -> str:
            changed = services.update_project_config(
                project.project_id,
                config_text=fields["text"],
                by=request.user.get_username(),
                why=fields["why"],
                expected=fields["expected"],
            )
            self.log_change(request, changed, audit_line("Configuration changed", fields))
            return f"Project {changed.project_id} configured"

        change = TextChange(
            title=f"Configuration of {project.project_id}",
            note=_CONFIG_NOTE,
            label="Put in force",
            permission="strategy.change_project",
            back=reverse("admin:strategy_project_change", args=[project.pk]),
            initial={
                "text": newest.config_text if newest else pretty(project.config),
                "expected": newest.number if newest else 0,
            },
            preview=preview,
            save=save,
        )
        return change_text(self, request, change)

    @action(description="Make it the default", url_path="default", permissions=["configure"], icon="star")
    def make_default(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make a project the default by the service."""
        return self.decide_one(request, object_id, MAKE_DEFAULT)


def _make_default(request: HttpRequest, project: Project, fields: dict[str, Any]) -> str:
    services.make_default(project.project_id)
    return "Made the default project"


MAKE_DEFAULT = Decision(
    title="Make it the default project",
    button="Make it the default",
    note="Calls that name no project will mean this one; the present default loses the mark.",
    permission="strategy.change_project",
    act=_make_default,
)


@admin.register(ProjectRevision)
class ProjectRevisionAdmin(ReadOnlyAdmin):
    """Every state of every project's configuration."""

    list_display = ["project", "number", "created_by", "created_at", "why"]
    list_select_related = ["project"]
    list_filter = [ProjectFilter]
    ordering = ["-id"]
    fields = ["project", "number", "created_by", "created_at", "why", "config_hash", "text", "changes"]
    readonly_fields = ["text", "changes"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProjectRevision]:
        """Leave the documents out of lists."""
        rows: QuerySet[ProjectRevision] = super().get_queryset(request)
        return rows.defer("config", "config_text", "project__config")

    @admin.display(description="Text")
    def text(self, revision: ProjectRevision) -> str:
        """Return the text as it was written."""
        return block(revision.config_text)

    @admin.display(description="Changes")
    def changes(self, revision: ProjectRevision) -> str:
        """Return what the revision before it did not hold, or held otherwise."""
        before = ProjectRevision.objects.filter(
            project=revision.project_id, number=revision.number - 1
        ).first()
        return differences_table(differences(before.config if before else {}, revision.config))
