"""What is only ever appended: events and the token ledger."""

from __future__ import annotations

from django.contrib import admin

from runs.admin.base import HistoryAdmin
from runs.models import TokenEntry, Transition


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
    """The ledger of tokens and money."""

    list_display = [
        "id", "at", "run", "phase", "kind", "envelope", "tokens", "dollars", "usage_source", "reason",
    ]  # fmt: skip
    list_select_related = ["run", "phase__run"]
    list_filter = ["kind", "envelope", "usage_source"]
    search_fields = ["run__run_id", "reason"]
    raw_id_fields = ["run", "tier", "phase", "attempt"]
