"""Characters that act instead of being seen: controls, bidirectional overrides, invisible ones."""

from __future__ import annotations

import re
import unicodedata

UNUSUAL = re.compile(r"[^\x20-\x7e\n\t]")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Letters and marks that are drawn as nothing, though no category says so.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def visible(text: str) -> str:
    """Return text with every character that acts instead of being seen as an escape; lines and tabs stay."""
    return UNUSUAL.sub(_escape, text.replace("\r\n", "\n"))


def both_ends(text: str, limit: int) -> str:
    """Return text, the middle left out where it is longer: what failed stands at a trace's end."""
    if len(text) <= limit:
        return text
    mark = "\n[...]\n"
    head = limit // 4
    return text[:head] + mark + text[len(text) - (limit - head - len(mark)) :]


def is_unseen(char: str) -> bool:
    """Tell whether a terminal, or a reader's eye, would obey the character instead of showing it."""
    return unicodedata.category(char) in _UNSEEN or _BLANK.match(char) is not None


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if not is_unseen(char):
        return char
    point = ord(char)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
