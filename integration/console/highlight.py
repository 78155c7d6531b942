"""Colours for code, and marks for what differs within a line. Pure, and bounded: the text is a stranger's.

Lexers are patterns, and a pattern can be made to run for very long; so only a few well-known ones are used, on short
lines and small hunks. What is beyond the bounds is shown without colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from django.utils.safestring import SafeString, mark_safe
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String

from integration.console.texts import marked

MAX_LINE_CHARS = 400
MAX_BLOCK_CHARS = 8_000
MAX_MARKED_CHARS = 300
MIN_LIKENESS = 0.4

_LEXERS = {
    ".py": "python", ".pyi": "python", ".js": "javascript", ".mjs": "javascript", ".ts": "typescript",
    ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".ini": "ini", ".cfg": "ini", ".css": "css",
    ".sql": "sql", ".sh": "bash", ".go": "go", ".rs": "rust", ".java": "java", ".c": "c", ".h": "c", ".rb": "ruby",
}  # fmt: skip
_STYLES = (
    (Comment, "c"),
    (Keyword, "k"),
    (String, "s"),
    (Number, "m"),
    (Name.Function, "f"),
    (Name.Class, "f"),
)

Piece = tuple[str, str]  # a text and its style, "" for none


def lines(texts: Sequence[str], name: str) -> list[list[Piece]]:
    """Return each line as styled pieces, by the language that the file's name tells."""
    plain: list[list[Piece]] = [[(text, "")] if text else [] for text in texts]
    lexer = _lexer(PurePosixPath(name).suffix.lower())
    is_small = sum(map(len, texts)) <= MAX_BLOCK_CHARS and all(len(text) <= MAX_LINE_CHARS for text in texts)
    if lexer is None or not is_small:
        return plain
    styled: list[list[Piece]] = [[]]
    for kind, value in lexer.get_tokens("\n".join(texts)):
        style = next((style for family, style in _STYLES if kind in family), "")
        for number, part in enumerate(value.split("\n")):
            if number:
                styled.append([])
            if part:
                styled[-1].append((part, style))
    del styled[len(texts) :]
    # A lexer that loses or changes a character must not change what is reviewed.
    return styled if ["".join(part for part, _ in row) for row in styled] == list(texts) else plain


def differing(old: str, new: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the spans of each line that the other doesn't have; none when they have little in common."""
    if len(old) > MAX_MARKED_CHARS or len(new) > MAX_MARKED_CHARS:
        return [], []
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < MIN_LIKENESS:
        return [], []
    spans = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    return (
        [(start, end) for _, start, end, _, _ in spans if end > start],
        [(start, end) for _, _, _, start, end in spans if end > start],
    )


def html(pieces: Sequence[Piece], spans: Sequence[tuple[int, int]] = ()) -> SafeString:
    """Return a line's pieces as HTML, the characters within the spans marked."""
    parts: list[str] = []
    at = 0
    for text, style in pieces:
        cuts = sorted({0, len(text), *(min(max(edge - at, 0), len(text)) for span in spans for edge in span)})
        for start, end in pairwise(cuts):
            shown: str = marked(text[start:end])
            if style:
                shown = f'<span class="{style}">{shown}</span>'
            if any(low <= at + start < high for low, high in spans):
                shown = f"<mark>{shown}</mark>"
            parts.append(shown)
        at += len(text)
    return mark_safe("".join(parts))  # noqa: S308 (`marked` escapes every text, styles are our own)


@cache
def _lexer(suffix: str) -> Any:
    name = _LEXERS.get(suffix)
    return get_lexer_by_name(name, stripnl=False, ensurenl=False) if name else None
