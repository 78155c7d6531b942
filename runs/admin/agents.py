"""Agents: the named callers, their tokens, when they were last seen and what they have used."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from unfold.admin import TabularInline
from unfold.views import ChangeList

from autopack_site.kernel import clock
from runs.admin.base import HistoryAdmin
from runs.models import Agent, ApiToken, Attempt
from strategy.admin import foreign


class AgentChangeList(ChangeList):
    """A page of agents with what their attempts sum up to: one more query, whatever the number of agents."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, then the sums of those on it."""
        super().get_results(request)
        agents: list[Any] = list(self.result_list)
        rows = Attempt.objects.filter(agent__in=[agent.name for agent in agents]).order_by().values("agent")
        sums: dict[str, Any] = {
            row["agent"]: row for row in rows.annotate(count=Count("*"), tokens=Sum("tokens_used"))
        }
        for agent in agents:
            row: dict[str, Any] = sums.get(agent.name, {})
            agent.attempt_count, agent.token_count = row.get("count", 0), row.get("tokens")
        self.result_list = agents


class TokenInline(TabularInline):
    """An agent's tokens, newest first."""

    model = ApiToken
    fields = readonly_fields = [
        "prefix",
        "role_names",
        "project",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
    ]
    extra = 0
    per_page = 20
    can_delete = False
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Leave what isn't shown out."""
        rows: QuerySet[ApiToken] = super().get_queryset(request)
        return rows.select_related("project").defer("digest", "project__config")

    @admin.display(description="roles")
    def role_names(self, token: ApiToken) -> str:
        """Return the roles in words."""
        return ", ".join(token.roles)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: tokens are made on a page of their own."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: tokens are not edited."""
        return False


@admin.register(Agent)
class AgentAdmin(HistoryAdmin):
    """Named callers. They come into being with their first token."""

    who = foreign("name")
    list_display = ["who", "valid_tokens", "last_seen", "attempts", "tokens_used", "created_at"]
    search_fields = ["name"]
    fields = readonly_fields = ["who", "created_at", "valid_tokens", "last_seen", "work"]
    inlines = [TokenInline]
    sortable_by = ()
    ordering = ["name"]

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        """Return the list that sums up attempts."""
        return AgentChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        """Count valid tokens and find when one was last used."""
        now = clock.now()
        is_valid = Q(tokens__revoked_at=None) & (Q(tokens__expires_at=None) | Q(tokens__expires_at__gt=now))
        rows: QuerySet[Agent] = super().get_queryset(request)
        return rows.annotate(
            valid_count=Count("tokens", filter=is_valid & Q(tokens__isnull=False)),
            seen_at=Max("tokens__last_used_at"),
        )

    @admin.display(description="valid tokens")
    def valid_tokens(self, agent: Any) -> int:
        """Return how many of its tokens let it in."""
        return int(agent.valid_count)

    @admin.display(description="last seen", empty_value="never")
    def last_seen(self, agent: Any) -> Any:
        """Return when one of its tokens was last used (to the minute)."""
        return agent.seen_at

    @admin.display(description="attempts")
    def attempts(self, agent: Any) -> int:
        """Return how many builds and audits were its own."""
        return int(agent.attempt_count)

    @admin.display(description="tokens used", empty_value="unknown")
    def tokens_used(self, agent: Any) -> str | None:
        """Return the tokens that its attempts have used, as far as they are known."""
        return None if agent.token_count is None else f"{agent.token_count:,}"

    @admin.display(description="Attempts")
    def work(self, agent: Agent) -> SafeString:
        """Return its attempts by kind and state, with the tokens that are known."""
        rows = (
            Attempt.objects.filter(agent=agent.name)
            .values_list("kind", "state")
            .annotate(count=Count("*"), tokens=Sum("tokens_used"))
            .order_by("kind", "state")
        )
        return mark_safe(render_to_string("runs/admin/agent_work.html", {"rows": rows}))  # noqa: S308 (a template's)
