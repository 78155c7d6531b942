"""Bytes out of hostile text: nothing that a plan or an agent wrote can act in the document that shows it.

In Markdown every foreign text stands in a code span or a fenced block, where no heading, link, image or HTML
exists; the delimiters are longer than any run of backticks inside. Characters that a terminal or a reader's eye
would obey instead of show (controls, bidirectional overrides, invisible ones) are written as escapes. Every
text passes the redactor on its way, before it is cut: half a secret would be recognised no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from autopack_site.kernel import clock
from autopack_site.kernel.visible import UNUSUAL, is_unseen, visible
from integration.redaction import MIN_CHARS, redact, redact_json
from runs.caps import shown

MAX_INLINE_CHARS = 300
MAX_BLOCK_CHARS = 20_000

_SIMPLE = re.compile(r"[A-Za-z0-9_.:/-]+")
_SPACES = re.compile(r"[ \t\r\n]+")
_BACKTICKS = re.compile(r"`+")


def iso(moment: datetime | None) -> str | None:
    """Return a time as API.md writes it: UTC, microseconds, `Z`. None stays None."""
    return clock.stamp(moment)


def code(value: object, *, limit: int = MAX_INLINE_CHARS) -> str:
    """Return value as one Markdown code span on one line, fit for a table cell; `-` when it is empty."""
    text = "" if value is None else str(value)
    if _SIMPLE.fullmatch(text) and len(text) < MIN_CHARS:
        return f"`{text}`"  # most cells: names of states, ids, codes
    plain = _SPACES.sub(" ", redact(text)).strip()
    if not plain:
        return "-"
    shown = visible(plain[:limit]).replace("|", "\\x7c")  # a bar would end the cell, escaped or not
    if len(plain) > limit:
        shown += "…"
    ticks = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def money(micro_usd: int | None) -> str:
    """Return millionths of a dollar as a table's cell; `-` for None."""
    return "-" if micro_usd is None else shown("micro_usd", micro_usd)


def block(text: str, *, limit: int = MAX_BLOCK_CHARS) -> str:
    """Return text as a fenced code block that it can't leave, cut after `limit` characters and saying so."""
    text = redact(text)
    left_out = max(len(text) - limit, 0)
    shown = visible(text[:limit])
    if not shown.endswith("\n"):
        shown += "\n"
    if left_out:
        shown += f"[... {left_out} characters left out ...]\n"
    ticks = "`" * max(_longest_run(shown) + 1, 3)
    return f"{ticks}text\n{shown}{ticks}\n"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table. Cells are numbers, or text that `code` made or that is our own."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def markdown(*parts: str) -> bytes:
    """Return parts as one document, a blank line between them; empty parts fall out."""
    return ("\n\n".join(part.strip("\n") for part in parts if part) + "\n").encode("utf-8", "replace")


def json_bytes(value: Any) -> bytes:
    """Return value as JSON for people: keys sorted, indented; what can't be seen is written as an escape."""
    text = json.dumps(redact_json(value), ensure_ascii=False, indent=2, sort_keys=True)
    return (UNUSUAL.sub(_json_escape, text) + "\n").encode("utf-8")


def json_rows_bytes(value: Mapping[str, Any], rows: str) -> bytes:
    """Return an object as JSON whose member `rows`, a list or an object, has one line an item.

    For members of many thousands of items: a line each is quick to write and to compare.
    """
    shown = redact_json({**value})
    items = shown[rows]
    if isinstance(items, dict):
        lines = [f"    {_dumps(key)}: {_dumps(items[key])}" for key in sorted(items)]
    else:
        lines = [f"    {_dumps(item)}" for item in items]
    opened, closed = "{}" if isinstance(items, dict) else "[]"
    body = opened + "\n" + ",\n".join(lines) + "\n  " + closed if lines else opened + closed
    members = [f"  {_dumps(key)}: {body if key == rows else _dumps(shown[key])}" for key in sorted(shown)]
    return _json_text("{\n" + ",\n".join(members) + "\n}\n")


def json_object_parts(
    value: Mapping[str, Any], rows: str, pages: Iterable[Mapping[str, Any]]
) -> Iterator[bytes]:
    """Yield an object as JSON with one more member, `rows`: an object of the pages' items, a line each.

    Holds one page at a time; a key of the pages stands on one page only. Lines are in the pages' order. Keys that
    redaction makes equal are numbered apart.
    """
    shown = redact_json({**value, rows: {}})
    names = sorted(shown)
    place = names.index(rows)
    head = "".join(f"  {_dumps(key)}: {_dumps(shown[key])},\n" for key in names[:place])
    yield _json_text("{\n" + head + f"  {_dumps(rows)}: {{")
    redacted: set[str] = set()
    is_first = True
    for page in pages:
        lines = []
        for key, item in redact_json(dict(page)).items():
            name, number = key, 1
            while name in redacted:
                number += 1
                name = f"{key} #{number}"
            if key not in page:
                redacted.add(name)
            lines.append(f"\n    {_dumps(name)}: {_dumps(item)}")
        if lines:
            yield _json_text(("" if is_first else ",") + ",".join(lines))
            is_first = False
    tail = "".join(f",\n  {_dumps(key)}: {_dumps(shown[key])}" for key in names[place + 1 :])
    yield _json_text(("}" if is_first else "\n  }") + tail + "\n}\n")


def _json_text(text: str) -> bytes:
    return UNUSUAL.sub(_json_escape, text).encode("utf-8")


def json_line(value: Any) -> bytes:
    """Return value as one line of JSON, keys sorted."""
    return (UNUSUAL.sub(_json_escape, _dumps(redact_json(value))) + "\n").encode("utf-8")


_dumps = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)


def _json_escape(match: re.Match[str]) -> str:
    char = match[0]
    return json.dumps(char)[1:-1] if is_unseen(char) else char
