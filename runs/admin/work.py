"""Attempts, leases and open work: who does what."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from runs.admin.base import HistoryAdmin
from runs.models import Attempt, Lease, Meter, Outbox
from runs.retries import send_again
from strategy.admin import DecidingAdmin, Decision

SHOWN_PATCH_BYTES = 100_000


@admin.register(Attempt)
class AttemptAdmin(HistoryAdmin):
    """Builds and audits; the patch is shown on the row's own page, its beginning only."""

    deferred = ("patch", "brief_notes", "notes", "report", "usage", "failure_reason")
    list_display = [
        "id", "run", "phase", "kind", "number", "state", "agent", "verdict", "failure_code", "tokens_used",
        "overrun", "cost_usd", "usage_source", "created_at",
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

    @admin.display(description="overrun")
    def overrun(self, attempt: Attempt) -> int | None:
        """Return the tokens spent beyond what the attempt was given; nothing where that is not known."""
        return attempt.overrun

    @admin.display(description="patch")
    def patch_text(self, attempt: Attempt) -> str:
        """Return the beginning of the patch; bytes that are no text are replaced."""
        patch = bytes(attempt.patch)
        text = patch[:SHOWN_PATCH_BYTES].decode("utf-8", "replace")
        rest = len(patch) - SHOWN_PATCH_BYTES
        return text if rest <= 0 else f"{text}\n... {rest} bytes more"


@admin.register(Meter)
class MeterAdmin(HistoryAdmin):
    """What agents reported of their spending while they worked."""

    list_display = [
        "attempt",
        "tokens",
        "turns",
        "state",
        "limit",
        "stop_by",
        "reports",
        "lower_reports",
        "reported_at",
    ]
    list_select_related = ["attempt"]
    list_filter = ["state", "limit"]
    search_fields = ["attempt__id", "attempt__run__run_id", "attempt__agent"]
    raw_id_fields = ["attempt"]


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


def _send_again(request: HttpRequest, row: Outbox, fields: dict[str, Any]) -> str:
    send_again(row.pk)
    return f"Sent {row.topic} again"


SEND_AGAIN = Decision(
    title="Send messages again",
    button="Send again",
    note="A worker gets the message now. Work that is done meanwhile is not done twice: rows say what is to be done.",
    permission="runs.change_outbox",
    act=_send_again,
)


@admin.register(Outbox)
class OutboxAdmin(DecidingAdmin, HistoryAdmin):
    """Work that is still to be done."""

    list_display = ["topic", "key", "due_at", "sent_at", "sends", "correlation_id"]
    list_filter = ["topic"]
    search_fields = ["key", "correlation_id"]
    actions = ["send_again"]

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may send messages again."""
        return request.user.has_perm("runs.change_outbox")

    @admin.action(description="Send again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Outbox]) -> HttpResponse | None:
        """Send each message again."""
        return self.decide_many(request, queryset, SEND_AGAIN)
