"""API tokens: made here and shown once, revoked here; never edited, never deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
)

from autopack_site.kernel import clock
from autopack_site.kernel.auth import Role
from runs import tokens
from runs.admin.base import HistoryAdmin
from runs.errors import TokenEnded
from runs.models import ApiToken
from strategy.admin import DecidingAdmin, Decision, WhyForm, foreign
from strategy.admin.decisions import audit_line
from strategy.models import Project

REVOKES = "runs.change_apitoken"


class NewTokenForm(WhyForm, forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Whom the token is for, what it may do, until when, and why."""

    agent_name = forms.CharField(
        label="Agent",
        max_length=128,
        widget=UnfoldAdminTextInputWidget,
        help_text="The name written into events and commits. A new name makes a new agent.",
    )
    roles = forms.MultipleChoiceField(
        choices=[(str(role), str(role)) for role in Role], widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    project = forms.ModelChoiceField(
        Project.objects.defer("config"),
        required=False,
        empty_label="Every project",
        widget=UnfoldAdminSelectWidget,
    )
    expires_at = forms.SplitDateTimeField(
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="UTC. Without it the token holds until it is revoked.",
    )

    class Meta:
        model = ApiToken
        fields = ("agent_name", "roles", "project", "expires_at")

    def clean_expires_at(self) -> datetime | None:
        """Refuse a token that would be dead at birth."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise forms.ValidationError("That time has passed")
        return expires_at


def _revoke(request: HttpRequest, token: ApiToken, fields: dict[str, Any]) -> str:
    if not tokens.revoke_token(token.pk):
        raise TokenEnded(f"The token {token.prefix} is revoked already")
    return "Revoked"


REVOKE = Decision(
    title="Revoke tokens",
    button="Revoke",
    note="At once, and for good: whoever presents one is refused from now on. Work claimed with it is handed "
    "to others when its lease runs out.",
    permission=REVOKES,
    act=_revoke,
    is_danger=True,
)


@admin.register(ApiToken)
class ApiTokenAdmin(DecidingAdmin, HistoryAdmin):
    """Tokens by their agents. Only hashes are stored, so a value is shown at its birth and never again."""

    form = NewTokenForm
    who = foreign("agent__name", "agent", limit=60)
    list_display = [
        "prefix", "who", "role_names", "project", "shown_state", "created_at", "expires_at", "last_used_at",
    ]  # fmt: skip
    list_select_related = ["agent", "project"]
    search_fields = ["agent__name", "prefix"]
    sortable_by = ("prefix", "created_at", "expires_at", "last_used_at")
    actions = ["revoke_tokens"]
    actions_detail = ["revoke"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Leave what no page shows out."""
        rows: QuerySet[ApiToken] = super().get_queryset(request)
        return rows.select_related("agent", "project").defer("digest", "project__config")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may make tokens."""
        return request.user.has_perm("runs.add_apitoken")

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Tell whether the user may revoke tokens."""
        return request.user.has_perm(REVOKES)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return the form's fields for a new token, what may be known for one that is there."""
        if obj is None:
            return ["agent_name", "roles", "project", "expires_at", "why"]
        return [
            "prefix", "who", "role_names", "project", "shown_state", "created_at", "expires_at", "revoked_at",
            "last_used_at",
        ]  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return nothing for a new token, everything for one that is there."""
        return [] if obj is None else self.get_fields(request, obj)

    @admin.display(description="roles")
    def role_names(self, token: ApiToken) -> str:
        """Return the roles in words."""
        return ", ".join(token.roles)

    @display(description="state", label={"valid": "success", "expired": "warning", "revoked": "danger"})
    def shown_state(self, token: ApiToken) -> str:
        """Return whether the token lets anyone in, and if not, why."""
        if token.revoked_at is not None:
            return "revoked"
        return "expired" if token.expires_at is not None and token.expires_at <= clock.now() else "valid"

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

    def construct_change_message(
        self, request: HttpRequest, form: forms.ModelForm[ApiToken], formsets: Any, add: bool = False
    ) -> str:
        """Return what the audit trail says of a new token."""
        wanted = form.cleaned_data
        made = f"Made for {wanted['agent_name']} with {', '.join(wanted['roles'])}"
        return audit_line(made, wanted)

    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the value: no redirect, so that no cookie or session ever holds it."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": "New token",
            "token": obj,
            "value": request.new_token_value,  # type: ignore[attr-defined]
            "list_url": reverse("admin:runs_apitoken_changelist"),
            "media": self.media,
        }
        return TemplateResponse(
            request, "runs/token_created.html", context, headers={"Cache-Control": "no-store"}
        )

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> HttpResponse | None:
        """Revoke each at once; tokens revoked before stay as they are."""
        return self.decide_many(request, queryset, REVOKE)

    @action(description="Revoke", url_path="revoke", permissions=["revoke"], icon="block")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Revoke a token at once."""
        return self.decide_one(request, object_id, REVOKE)
