"""Agents and their tokens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from autopack_site.kernel.auth import Role
from runs import tokens
from runs.admin.base import HistoryAdmin
from runs.models import Agent, ApiToken
from strategy.models import Project


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
