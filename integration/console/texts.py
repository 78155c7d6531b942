"""Foreign text in a page: escaped, credentials taken out, and nothing in it that acts instead of being seen.

Everything that agents, plans or commands wrote passes through here on its way to a page.
"""

from __future__ import annotations

import re

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from autopack_site.kernel.visible import visible
from integration.redaction import redact

# Colours and other renditions: noise in a page. Every other control sequence is shown, not obeyed.
_RENDITION = re.compile(r"\x1b\[[0-9;:]{0,64}m")
_UNUSUAL = re.compile(r"[^\x20-\x7e\n\t]+")


def shown(text: object, limit: int | None = None) -> SafeString:
    """Return text as HTML, cut after `limit` characters; what can't be seen is an escape in a mark of its own."""
    whole = "" if text is None else redact(str(text))
    return marked(whole if limit is None or len(whole) <= limit else whole[:limit] + "…")


def marked(text: str) -> SafeString:
    """Return text, already redacted, as HTML with its unseen characters marked."""
    parts: list[str] = []
    done = 0
    for match in _UNUSUAL.finditer(text):
        seen = visible(match[0])
        if seen != match[0]:
            parts += [str(escape(text[done : match.start()])), _marks(match[0])]
            done = match.end()
    parts.append(str(escape(text[done:])))
    return mark_safe("".join(parts))  # noqa: S308 (every part is escaped above or below)


def _marks(text: str) -> str:
    shown = []
    for char in text:
        seen = visible(char)
        shown.append(str(escape(char)) if seen == char else f'<span class="esc">{escape(seen)}</span>')
    return "".join(shown)


def plain_log(data: bytes) -> str:
    """Return a log's bytes as text: without colours, with plain line ends, credentials taken out."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    return redact(_RENDITION.sub("", text))
