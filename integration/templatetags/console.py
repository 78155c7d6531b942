"""Filters and pieces that the console's templates share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils.safestring import SafeString

from autopack_site.kernel import clock
from autopack_site.kernel.visible import both_ends
from integration.artefacts.text import iso
from integration.console import texts
from integration.console.bars import Bar
from runs import caps

register = template.Library()

_TONES = {
    "DONE_SUCCESS": "good", "COMPLETE": "good", "MERGED": "good", "GREEN": "good", "green": "good", "clean": "good",
    "approve": "good", "flaky": "warn", "waived": "warn", "DONE_CANCELLED": "warn", "SKIPPED": "", "DROPPED": "",
    "LOST": "warn", "not_clean": "bad", "FAILED": "bad", "RED": "bad", "REFUSED": "bad", "red": "bad",
    "infra_failed": "bad", "escalate": "bad", "revise": "warn", "major": "bad", "CANCELLED": "", "PENDING": "",
    "minor": "", "RUN_CREATED": "", "PLAN_BOOTSTRAP": "", "PHASE_QUEUEING": "", "QUEUED": "", "WANTED": "",
    "WAITING": "", "DECIDED": "good",
}  # fmt: skip


@register.filter
def shown(value: object, limit: int | None = None) -> SafeString:
    """Show foreign text, cut after `limit` characters: see `integration.console.texts`."""
    return texts.shown(value, limit)


@register.inclusion_tag("console/state.html")
def state(value: object) -> dict[str, str]:
    """Show a state, verdict or severity in words, with a tone that says the same."""
    name = str(value or "")
    tone = _TONES.get(name, "bad" if name.startswith("DONE_FAILED_") else "busy")
    words = name.removeprefix("DONE_").replace("_", " ").lower()
    return {"tone": tone, "words": words}


@register.inclusion_tag("console/bar.html")
def bar(value: Bar) -> dict[str, Bar]:
    """Draw a budget."""
    return {"bar": value}


@register.inclusion_tag("console/moment.html")
def moment(value: datetime | None, form: str = "full") -> dict[str, Any]:
    """Show a time; `form` is `full`, `clock` (the time of day) or `age` (how long ago)."""
    return {"at": value, "iso": iso(value), "form": form, "age": _age(value)}


@register.filter
def lasted(start: datetime | None, end: datetime | None) -> str:
    """Return how long it took, or has taken so far, in words; nothing for what hasn't begun."""
    return "" if start is None else _words((end or clock.now()) - start)


@register.filter
def thousands(value: int | None) -> str:
    """Return a number with its thousands parted; a dash for one that nobody knows."""
    return "\u2013" if value is None else f"{value:,}"


@register.filter
def ends(text: str) -> str:
    """Return a long text without its middle: what failed stands at its end."""
    return both_ends(text, 400)


@register.filter
def money(micro_usd: int | None) -> str:
    """Return millionths of a dollar as people write them; a dash for what nobody knows."""
    return "\u2013" if micro_usd is None else caps.shown("micro_usd", micro_usd)


@register.filter
def sha(value: str) -> str:
    """Return the beginning of a commit's name."""
    return value[:12]


def _age(value: datetime | None) -> str:
    return "" if value is None else _words(clock.now() - value)


def _words(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 60:
        return f"{minutes} min {seconds % 60:02} s" if minutes < 10 else f"{minutes} min"
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{days} days"
