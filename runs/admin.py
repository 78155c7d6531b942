"""Runs in the admin. History is read; what changes, changes through services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from autopack_site.kernel.auth import Role
from autopack_site.kernel.errors import AutopackError
from runs import services, tokens
from runs.models import (
    Agent,
    ApiToken,
    Attempt,
    Lease,
    Outbox,
    Phase,
    Run,
    Tier,
    TokenEntry,
    Transition,
)
from strategy.admin import ReadOnlyAdmin
from strategy.models import Project

SHOWN_PATCH_BYTES = 100_000


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


@admin.register(Attempt)
class AttemptAdmin(HistoryAdmin):
    """Builds and audits; the patch is shown on the row's own page, its beginning only."""

    deferred = ("patch", "brief_notes", "notes", "report", "usage", "failure_reason")
    list_display = [
        "id", "run", "phase", "kind", "number", "state", "agent", "verdict", "failure_code", "tokens_used",
        "usage_source", "created_at",
    ]  # fmt: skip
    list_select_related = ["run", "phase__run"]
    list_filter = ["kind", "state", "verdict", "usage_source"]
    search_fields = ["id", "run__run_id", "agent", "candidate_sha", "patch_hash"]
    raw_id_fields = ["run", "phase", "target"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return every field, the patch as text."""
        names = super().get_readonly_fields(request, obj)
        return [*(name for name in names if name != "patch"), "patch_text"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return what the page shows."""
        return self.get_readonly_fields(request, obj)

    @admin.display(description="patch")
    def patch_text(self, attempt: Attempt) -> str:
        """Return the beginning of the patch; bytes that are no text are replaced."""
        patch = bytes(attempt.patch)
        text = patch[:SHOWN_PATCH_BYTES].decode("utf-8", "replace")
        rest = len(patch) - SHOWN_PATCH_BYTES
        return text if rest <= 0 else f"{text}\n... {rest} bytes more"


@admin.register(Lease)
class LeaseAdmin(HistoryAdmin):
    """Who holds what, and until when."""

    list_display = [
        "id", "run", "phase", "owner", "fence", "acquired_at", "expires_at", "released_at", "release_reason",
    ]  # fmt: skip
    list_select_related = ["run", "phase__run"]
    list_filter = ["release_reason"]
    search_fields = ["id", "run__run_id", "owner"]
    raw_id_fields = ["run", "phase", "attempt"]


@admin.register(Transition)
class TransitionAdmin(HistoryAdmin):
    """Every move and observation."""

    deferred = ("data", "why")
    list_display = [
        "id", "at", "run", "machine", "subject", "event", "from_state", "to_state", "version", "who",
    ]  # fmt: skip
    list_select_related = ["run"]
    list_filter = ["machine", "event"]
    search_fields = ["run__run_id", "subject", "who", "correlation_id"]
    raw_id_fields = ["run"]


@admin.register(TokenEntry)
class TokenEntryAdmin(HistoryAdmin):
    """The token ledger."""

    list_display = [
        "id", "at", "run", "phase", "kind", "envelope", "tokens", "usage_source", "reason",
    ]  # fmt: skip
    list_select_related = ["run", "phase__run"]
    list_filter = ["kind", "envelope", "usage_source"]
    search_fields = ["run__run_id", "reason"]
    raw_id_fields = ["run", "tier", "phase", "attempt"]


@admin.register(Outbox)
class OutboxAdmin(HistoryAdmin):
    """Work that is still to be done."""

    list_display = ["topic", "key", "due_at", "sent_at", "sends", "correlation_id"]
    list_filter = ["topic"]
    search_fields = ["key", "correlation_id"]


@admin.register(Agent)
class AgentAdmin(HistoryAdmin):
    """Named callers. They come into being with their first token."""

    list_display = ["name", "created_at"]
    search_fields = ["name"]


class NewTokenForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Whom the token is for and what it may do."""

    agent_name = forms.CharField(max_length=128, widget=UnfoldAdminTextInputWidget)
    roles = forms.MultipleChoiceField(
        choices=[(str(role), str(role)) for role in Role], widget=forms.CheckboxSelectMultiple
    )
    project = forms.ModelChoiceField(Project.objects.all(), required=False, empty_label="every project")
    expires_at = forms.SplitDateTimeField(required=False, widget=UnfoldAdminSplitDateTimeWidget)

    class Meta:
        model = ApiToken
        fields = ("agent_name", "roles", "project", "expires_at")


@admin.register(ApiToken)
class ApiTokenAdmin(HistoryAdmin):
    """Tokens: made here and shown once, revoked here; never edited, never deleted."""

    form = NewTokenForm
    list_display = [
        "prefix", "agent", "roles", "project", "created_at", "expires_at", "revoked_at", "last_used_at",
    ]  # fmt: skip
    list_select_related = ["agent", "project"]
    search_fields = ["agent__name", "prefix"]
    raw_id_fields = ["agent"]
    actions = ["revoke_tokens"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may make tokens."""
        return request.user.has_perm("runs.add_apitoken")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may change tokens."""
        return request.user.has_perm("runs.change_apitoken")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return the form's fields for a new token, the row's but its digest for one that is there."""
        if obj is None:
            return ["agent_name", "roles", "project", "expires_at"]
        return [name for name in super().get_readonly_fields(request, obj) if name != "digest"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return nothing for a new token, everything for one that is there."""
        return [] if obj is None else self.get_fields(request, obj)

    def save_model(
        self, request: HttpRequest, obj: ApiToken, form: forms.ModelForm[ApiToken], change: bool
    ) -> None:
        """Make the token by the service; its value goes into the answer and nowhere else."""
        wanted = form.cleaned_data
        value = tokens.create_token(
            wanted["agent_name"],
            roles=wanted["roles"],
            project=wanted["project"],
            expires_at=wanted["expires_at"],
        )
        obj.pk = ApiToken.objects.only("pk").get(digest=tokens.digest_of(value)).pk
        obj.refresh_from_db()
        request.new_token_value = value  # type: ignore[attr-defined]  # for response_add, within this request

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the value: no redirect, so that no cookie or session ever holds it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "New token",
            "token": obj,
            "value": request.new_token_value,  # type: ignore[attr-defined]
            "list_url": reverse("admin:runs_apitoken_changelist"),
        }
        return TemplateResponse(
            request, "runs/token_created.html", context, headers={"Cache-Control": "no-store"}
        )

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke at once; tokens revoked before stay as they are."""
        revoked = sum(tokens.revoke_token(pk) for pk in queryset.values_list("pk", flat=True))
        self.message_user(request, f"Revoked: {revoked}", messages.SUCCESS)
