"""Forms that take a document as text: what is wrong with it by line and field, and what it would change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from unfold.widgets import UnfoldAdminTextareaWidget

from autopack_site.kernel.errors import Invalid
from autopack_site.kernel.visible import visible
from strategy.admin.base import clipped
from strategy.admin.decisions import WhyForm
from strategy.differences import Difference, Kind
from strategy.documents import MAX_CHARS

PREVIEW = "preview"
SHOWN_CHARS = 2000
_LINE = re.compile(r"line (\d+): (.*)", re.DOTALL)


class SourceField(forms.CharField):
    """A document's text; blanks at its ends are its own."""

    def __init__(self, **options: Any) -> None:
        attrs = {"rows": 24, "class": "desk-source", "spellcheck": "false", "autocomplete": "off"}
        widget = UnfoldAdminTextareaWidget(attrs=attrs)
        super().__init__(max_length=MAX_CHARS, strip=False, widget=widget, **options)

    def to_python(self, value: Any) -> str:
        """Return the text with plain line ends: browsers send CRLF."""
        return str(super().to_python(value)).replace("\r\n", "\n")


class TextForm(WhyForm):
    """A document's text, the state that it was made from, and why."""

    text = SourceField(label="Text", required=False)
    expected = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    field_order = ["text", "why", "expected"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a text, as a table shows it."""

    line: str
    place: str
    message: str


def problems_of(error: Invalid) -> list[Problem]:
    """Return the faults that a validator found, line and field apart."""
    found = []
    for row in error.problems:
        match = _LINE.fullmatch(str(row["msg"]))
        line, message = match.groups() if match else ("", str(row["msg"]))
        place = Difference(tuple(row["loc"]), Kind.CHANGED, None, None).place
        found.append(Problem(line, visible(place) or "(the whole text)", visible(message)))
    return found


@dataclass(frozen=True, slots=True)
class ShownDifference:
    """One difference, as a table shows it."""

    place: str
    kind: str
    before: str
    after: str


def shown(differences: Iterable[Difference]) -> Sequence[ShownDifference]:
    """Return differences fit to be shown; what was not there is empty."""
    return [
        ShownDifference(
            visible(row.place) or "(the whole document)",
            str(row.kind),
            "" if row.kind == Kind.ADDED else _json(row.old),
            "" if row.kind == Kind.REMOVED else _json(row.new),
        )
        for row in differences
    ]


def differences_table(differences: Iterable[Difference]) -> SafeString:
    """Return differences as the table that a row's own page shows."""
    rows = shown(differences)
    context = {"differences": rows, "caption": f"{len(rows)} values"}
    return mark_safe(render_to_string("strategy/admin/differences.html", context))  # noqa: S308 (a template's output)


def pretty(document: Any) -> str:
    """Return a document as JSON for people to read and edit."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def _json(value: Any) -> str:
    return clipped(visible(json.dumps(value, ensure_ascii=False)), SHOWN_CHARS)
