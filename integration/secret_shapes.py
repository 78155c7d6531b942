"""Shapes of credentials in added lines. Conservative: a false alarm fails a phase.

Findings carry the kind of secret only. Each pattern is linear: bounded repeats, no nesting.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

# kind, what any match contains one of (a plain search is many times faster than the pattern), pattern
_SHAPES: tuple[tuple[str, tuple[bytes, ...], re.Pattern[bytes]], ...] = (
    ("private key", (b"-----BEGIN ",),
     re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")),
    ("AWS access key", (b"AKIA", b"ASIA"),
     re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Z0-9])")),
    ("GitHub token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
     re.compile(rb"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,255}")),
    ("GitHub token", (b"github_pat_",),
     re.compile(rb"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9]{20,40}_[A-Za-z0-9]{40,80}")),
    ("GitLab token", (b"glpat-", b"gldt-", b"glrt-", b"glcbt-", b"glptt-", b"glft-", b"glsoat-"),
     re.compile(rb"(?<![A-Za-z0-9])gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,255}")),
    ("Slack token", (b"xox",),
     re.compile(rb"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{20,255}")),
    ("Slack webhook", (b"hooks.slack.com",),
     re.compile(rb"hooks\.slack\.com/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/\w{20}")),
    ("Stripe key", (b"k_live_",),
     re.compile(rb"(?<![A-Za-z0-9])[rs]k_live_[A-Za-z0-9]{20,255}")),
    ("Google API key", (b"AIza",),
     re.compile(rb"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")),
    ("Anthropic key", (b"sk-ant-",),
     re.compile(rb"(?<![A-Za-z0-9])sk-ant-[a-z0-9]{2,10}-[A-Za-z0-9_-]{40,255}")),
    ("OpenAI key", (b"T3BlbkFJ",),
     re.compile(rb"(?<![A-Za-z0-9])sk-(?:proj-)?[A-Za-z0-9_-]{20,90}T3BlbkFJ[A-Za-z0-9]{20}")),
    ("npm token", (b"npm_",),
     re.compile(rb"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])")),
    ("PyPI token", (b"pypi-AgE",),
     re.compile(rb"(?<![A-Za-z0-9])pypi-AgE[A-Za-z0-9_-]{50,255}")),
)  # fmt: skip
_ASSIGNED = re.compile(
    rb"(?:passwd|password|secret|token|api_?key|access_?key|private_?key|credential)[a-z_]{0,20}"
    rb"[\"']?[ \t]{0,8}(?::|=|:=|=>)[ \t]{0,8}[\"']([A-Za-z0-9+/=_.~-]{24,200})[\"']",
    re.IGNORECASE,
)
_ASSIGNED_MARKS = (
    b"passw", b"secret", b"token", b"credential", b"api_key", b"apikey", b"access_key", b"accesskey",
    b"private_key", b"privatekey",
)  # fmt: skip
_HARMLESS = re.compile(rb"example|placeholder|changeme|dummy|sample|your[_-]|xxxx|fake|test|insecure", re.I)
_MIN_ENTROPY_BITS = 4.0


def kind_of_secret(line: bytes) -> str | None:
    """Return what kind of credential line seems to hold, or None. Never any of its text."""
    return next((kind for _, _, kind in secret_spans(line)), None)


def secret_spans(text: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, kind) of what looks like a credential, shape by shape. Spans may overlap."""
    for kind, marks, shape in _SHAPES:
        if any(mark in text for mark in marks):
            for match in shape.finditer(text):
                if b"EXAMPLE" not in match[0]:
                    yield *match.span(), kind
    lowered = text.lower()
    if any(mark in lowered for mark in _ASSIGNED_MARKS):
        for match in _ASSIGNED.finditer(text):
            if _is_random(match[1]):
                yield *match.span(1), "value assigned to a name of secrets"


def _is_random(value: bytes) -> bool:
    """Tell a generated value from a word, path or placeholder: mixed characters, high entropy."""
    if _HARMLESS.search(value):
        return False
    kinds = [re.search(pattern, value) for pattern in (rb"[a-z]", rb"[A-Z]", rb"[0-9]")]
    if not kinds[2] or not (kinds[0] or kinds[1]):
        return False
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bits >= _MIN_ENTROPY_BITS
