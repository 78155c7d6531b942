"""Takes credentials out of texts that agents, gates or plans produced, before they are stored for people.

Bolder than the judge of patches (`secret_shapes`): here a false alarm costs a few letters, a miss a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from integration.secret_shapes import secret_spans

MIN_CHARS = 16  # no shape is shorter
MAX_KEY_BYTES = 20_000

# A private key with its body, also as one escaped line; without an end, as far as a body may reach.
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:(?!-----END)[\s\S]){0,%d}(?:-----END [A-Z0-9 ]{1,80}-----)?" % MAX_KEY_BYTES
)
# Kind, what any match contains in lower case, pattern whose first group is what is taken out.
_MORE: tuple[tuple[str, bytes, re.Pattern[bytes]], ...] = (
    ("private key", b"-----begin ", re.compile(rb"(" + _PRIVATE_KEY.pattern + rb")")),
    ("Autopack token", b"apk_", re.compile(rb"(?<![A-Za-z0-9])(apk_[A-Za-z0-9_-]{20,64})")),
    ("JSON web token", b".eyj",
     re.compile(rb"(?<![A-Za-z0-9])(eyJ[\w-]{10,4096}\.eyJ[\w-]{10,4096}\.[\w-]{10,1024})")),
    ("password in a URL", b"://", re.compile(rb"://[^\s/:@\"']{0,128}:([^\s/@\"']{1,256})@")),
    ("credential in a URL", b"://", re.compile(rb"://([^\s/:@\"']{16,256})@")),
    ("credential", b"bearer", re.compile(rb"(?i)\bbearer[ \t]{1,8}([a-z0-9._~+/-]{16,1024}={0,2})")),
    ("credential", b"basic", re.compile(rb"(?i)\bbasic[ \t]{1,8}([a-z0-9._~+/-]{16,1024}={0,2})")),
)  # fmt: skip


def redact(text: str) -> str:
    """Return text with each credential replaced by `[redacted: KIND]`. Pure; all else stays as it is."""
    if len(text) < MIN_CHARS:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    shown = redact_bytes(raw)
    return text if shown is raw else shown.decode("utf-8", "surrogatepass")


def redact_bytes(raw: bytes) -> bytes:
    """Return raw with each credential replaced; raw itself where there is none. Bytes need be no UTF-8."""
    spans = sorted(_spans(raw), key=lambda span: (span[0], -span[1]))
    if not spans:
        return raw
    parts: list[bytes] = []
    done = 0
    for start, end, kind in spans:
        if start >= done:
            parts += [raw[done:start], f"[redacted: {kind}]".encode()]
        done = max(done, end)
    parts.append(raw[done:])
    return b"".join(parts)


def redact_json(value: Any) -> Any:
    """Return JSON data with every string redacted, keys too; keys that become equal are numbered apart."""
    # One search through everything is far cheaper than one a string: most documents hold nothing. Undoing the
    # escapes makes it find at least what a search of each string would.
    text = json.dumps(value, ensure_ascii=False)
    plain = text.replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t")
    if next(_spans(plain.encode("utf-8", "surrogatepass")), None) is None:
        return value
    return _each_redacted(value)


def _each_redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list | tuple):
        return [_each_redacted(item) for item in value]
    if isinstance(value, dict):
        shown: dict[str, Any] = {}
        for key in sorted(value):
            name, number = redact(str(key)), 1
            while (name if number == 1 else f"{name} #{number}") in shown:
                number += 1
            shown[name if number == 1 else f"{name} #{number}"] = _each_redacted(value[key])
        return shown
    return value


def _spans(raw: bytes) -> Iterator[tuple[int, int, str]]:
    lowered = raw.lower()
    for kind, mark, shape in _MORE:
        if mark in lowered:
            for match in shape.finditer(raw):
                yield *match.span(1), kind
    yield from secret_spans(raw)
