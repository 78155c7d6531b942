"""What reports carry, made safe to store: clipped text, bounded lists without doubles, paths in evidence.

Pure. Reports come from agents and from test output: any length, any character.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

from issues.severity import worst
from runs.ports import IssueReport

MAX_KEY_CHARS = 256
MAX_TOKEN_CHARS = 64
MAX_COMPLEXITY_CHARS = 32
MAX_REF_CHARS = 1024
MAX_REFS = 100
MAX_PATHS = 50
MAX_NAMES = 200
MAX_DESCRIPTION_CHARS = 4000
MAX_WHY_CHARS = 4000
_DIGEST_CHARS = 16
_PLACE = re.compile(r"(?P<path>[^\s:*?\[\]\\]{1,512})(?:::.*|(?::\d+){1,2}(?:-\d+)?:?)?", re.DOTALL)
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,15}")


def storable(text: str, limit: int) -> str:
    """Return text that PostgreSQL takes (no NUL, no lone surrogate), clipped to `limit` characters."""
    clean = text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return clean[:limit]


def stable_key(key: str) -> str:
    """Return the key, or when it is too long a form of it that stays distinct and the same each time."""
    clean = storable(key, len(key))
    if len(clean) <= MAX_KEY_CHARS:
        return clean
    digest = hashlib.sha256(clean.encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{clean[: MAX_KEY_CHARS - _DIGEST_CHARS - 1]}#{digest}"


def cleaned(report: IssueReport) -> IssueReport:
    """Return the report as it is stored: nothing seen is refused for its size or its characters."""
    return replace(
        report,
        issue_key=stable_key(report.issue_key),
        severity=worst(report.severity),
        source=storable(report.source, MAX_TOKEN_CHARS),
        category=storable(report.category, MAX_TOKEN_CHARS),
        task_category=storable(report.task_category or "", MAX_TOKEN_CHARS),
        complexity=storable(report.complexity or "", MAX_COMPLEXITY_CHARS),
        evidence_refs=tuple(storable(ref, MAX_REF_CHARS) for ref in report.evidence_refs[: 2 * MAX_REFS]),
        description=storable(report.description, MAX_DESCRIPTION_CHARS),
    )


def joined(known: Iterable[str], new: Iterable[str], limit: int) -> list[str]:
    """Return known and new without doubles, in order of arrival, the first `limit` of them."""
    return list(dict.fromkeys([*known, *new]))[:limit]


def latest(known: Iterable[str], new: Iterable[str], limit: int) -> list[str]:
    """Return known and new without doubles, in order of arrival, the last `limit` of them."""
    return list(dict.fromkeys([*known, *new]))[-limit:]


def fullest(one: str, other: str) -> str:
    """Return the longer text, of equally long ones the lesser: the same whichever came first."""
    return min(one, other, key=lambda text: (-len(text), text))


def least(one: str, other: str) -> str:
    """Return the lesser of two words that say something."""
    return min(one or other, other or one)


def path_in(ref: str) -> str | None:
    """Return the file of the repository that a piece of evidence names, or None.

    Read are `a/b.py`, `a/b.py:12`, `a/b.py:12:3` and `a/b.py::test_name`. The path is only a hint of where
    the problem lies: whoever makes a scope of it judges it again.
    """
    found = _PLACE.fullmatch(ref.strip())
    if found is None:
        return None
    path = found["path"].removeprefix("./")
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts):
        return None
    if not path.isprintable() or (len(parts) == 1 and not _SUFFIX.search(path)):
        return None
    return path


def paths_in(refs: Iterable[str]) -> list[str]:
    """Return the files that the evidence names, in order, without doubles."""
    return list(dict.fromkeys(path for path in map(path_in, refs) if path))
