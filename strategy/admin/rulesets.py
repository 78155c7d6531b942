"""Rulesets and the strategies made of them: a new version from an old one, and what differs between two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action

from autopack_site.kernel.visible import visible
from strategy import services
from strategy.admin.base import ProjectFilter, ReadOnlyAdmin, block
from strategy.admin.decisions import audit_line
from strategy.admin.text_views import TextChange, change_text
from strategy.admin.texts import Problem, differences_table, pretty, shown
from strategy.differences import Difference, differences
from strategy.lint import lint_text
from strategy.models import Ruleset, Strategy
from strategy.validation import check_ruleset_text

VERSION = "version"
_NOTE = (
    "The whole text becomes the project's next version and is put in force; runs that have started keep theirs. What "
    "the text leaves out has the published default."
)


def _texts(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a person edits of a ruleset: its number is given by the service."""
    return {name: value for name, value in services.written_out(document).items() if name != VERSION}


@admin.register(Ruleset)
class RulesetAdmin(ReadOnlyAdmin):
    """Every version of every project's rules."""

    list_display = ["project", "version", "is_in_force", "sha256", "created_by", "created_at"]
    list_select_related = ["project"]
    list_filter = [ProjectFilter]
    search_fields = ["project__project_id", "=sha256"]
    fields = ["project", "version", "is_in_force", "sha256", "created_by", "created_at", "changes", "text"]
    readonly_fields = ["is_in_force", "changes", "text"]
    actions_detail = ["revise", "compare"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Ruleset]:
        """Leave the documents out of lists."""
        rows: QuerySet[Ruleset] = super().get_queryset(request)
        return rows.select_related("project").defer("document", "project__config")

    def has_revise_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Tell whether the user may make new versions."""
        return request.user.has_perm("strategy.add_ruleset")

    @admin.display(description="In force", boolean=True)
    def is_in_force(self, ruleset: Ruleset) -> bool:
        """Tell whether new runs get this version."""
        return ruleset.project.ruleset_id == ruleset.pk

    @admin.display(description="Rules")
    def text(self, ruleset: Ruleset) -> str:
        """Return the document."""
        return block(pretty(ruleset.document))

    @admin.display(description="Changes to the version before")
    def changes(self, ruleset: Ruleset) -> str:
        """Return what the version before it did not say, or said otherwise."""
        before = Ruleset.objects.filter(project=ruleset.project_id, version__lt=ruleset.version).first()
        if before is None:
            return "The first version"
        return differences_table(differences(before.document, ruleset.document, ignored=[VERSION]))

    @action(description="New version from this", url_path="revise", permissions=["revise"], icon="edit")
    def revise(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make the project's next version, beginning with this one's text."""
        ruleset = self._found(request, object_id)
        project, in_force = ruleset.project, ruleset.project.ruleset
        number = in_force.version if in_force else 0

        def preview(fields: dict[str, Any]) -> Sequence[Difference]:
            document = {"project_id": project.project_id, **check_ruleset_text(fields["text"])}
            return differences(in_force.document if in_force else {}, document, ignored=[VERSION])

        def advise(fields: dict[str, Any]) -> Sequence[Problem]:
            return [
                Problem(str(row.line or ""), visible(row.field), visible(f"{row.message} ({row.code})"))
                for row in lint_text(fields["text"])
            ]

        def save(request: HttpRequest, fields: dict[str, Any]) -> str:
            made = services.revise_ruleset(
                project.project_id,
                text=fields["text"],
                by=request.user.get_username(),
                expected=fields["expected"],
            )
            self.log_addition(request, made, audit_line(f"Made from version {ruleset.version}", fields))
            return f"Version {made.version} of {project.project_id}'s ruleset is in force"

        change = TextChange(
            title=f"New version of {project.project_id}'s ruleset, from version {ruleset.version}",
            note=_NOTE,
            label="Put in force",
            permission="strategy.add_ruleset",
            back=f"{reverse('admin:strategy_ruleset_changelist')}?project__id__exact={project.pk}",
            initial={"text": pretty(_texts(ruleset.document)), "expected": number},
            preview=preview,
            save=save,
            advise=advise,
        )
        return change_text(self, request, change)

    @action(description="Compare", url_path="compare", permissions=["view"], icon="difference")
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what differs between this version and another of the project, by default the one before."""
        ruleset = self._found(request, object_id)
        others = Ruleset.objects.filter(project=ruleset.project_id).exclude(pk=ruleset.pk)
        wanted = request.GET.get("with", "")
        older = others.filter(version__lt=ruleset.version).first() or others.first()
        # longer numbers are no version, and would not fit the column
        other = (
            others.filter(version=int(wanted)).first() if wanted.isdecimal() and len(wanted) < 9 else older
        )
        rows: Sequence[Any] = []
        if other is not None:
            rows = shown(differences(other.document, ruleset.document, ignored=[VERSION]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": f"Version {ruleset.version} of {ruleset.project.project_id}'s ruleset",
            "versions": list(others.values_list("version", flat=True)),
            "other": other,
            "differences": rows,
            "caption": f"From version {other.version} to version {ruleset.version}" if other else "",
            "media": self.media,
        }
        return TemplateResponse(request, "strategy/admin/ruleset_differences.html", context)

    def _found(self, request: HttpRequest, object_id: str) -> Ruleset:
        ruleset: Ruleset | None = self.get_object(request, object_id)
        if ruleset is None:
            raise Http404
        return ruleset


@admin.register(Strategy)
class StrategyAdmin(ReadOnlyAdmin):
    """The frozen strategy of each run."""

    list_display = ["run_id", "project", "ruleset", "sha256", "created_at"]
    list_select_related = ["project", "ruleset"]
    list_filter = [ProjectFilter]
    search_fields = ["run_id", "=sha256"]
    ordering = ["-id"]
    fields = ["run_id", "project", "ruleset", "sha256", "created_at", "text"]
    readonly_fields = ["text"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Strategy]:
        """Leave the large texts out of lists."""
        rows: QuerySet[Strategy] = super().get_queryset(request)
        return rows.select_related("project", "ruleset").defer(
            "document", "canonical", "project__config", "ruleset__document"
        )

    @admin.display(description="Strategy")
    def text(self, strategy: Strategy) -> str:
        """Return the document."""
        return block(pretty(strategy.document))
