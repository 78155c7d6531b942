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
_PLACE = re.compile(r"(?P<path>[^\s:*?\[\]\\]{1,512})(?:::.*)?", re.DOTALL)
_FRAME = re.compile(r"File [\"'](?P<path>[^\"']{1,512})[\"'](?:, lines? .{0,300})?")
# Where in the file, as compilers, forges, editors and people write it: cut off before the path is read.
_LINES = re.compile(
    r"""(?:
        (?::L?\d{1,9}){1,2}(?:-L?\d{1,9}(?::\d{1,9})?)?:?
      | \#L\d{1,9}(?:C\d{1,9})?(?:-L?\d{1,9}(?:C\d{1,9})?)?
      | [ ]?\(\d{1,9}(?:[,:][ ]?\d{1,9}){0,3}\):?
      | ,?[ ]\(?(?:on[ ]|at[ ])?lines?[ ]\d{1,9}(?:[ ]?(?:-|to|,)[ ]?\d{1,9})?\)?(?:,[ ]in[ ]\S{1,200})?
    )(?=\Z|::)""",
    re.VERBOSE | re.IGNORECASE,
)
# Checkouts that live for one run. The rest of the path is the file's place in the repository.
_CHECKOUT = re.compile(
    r"""(?:/private)?/
    (?: (?:tmp|var/tmp|dev/shm)/
        (?:pytest-of-[^/]{1,64}/pytest-[^/]{1,64}/(?:popen-[^/]{1,64}/)?)?
      | var/folders/[^/]{1,64}/[^/]{1,64}/(?:T/)?
    )[^/]{1,255}/(?:(?=[a-f-]{0,64}\d)[0-9a-f-]{7,64}/)?(?=.)""",
    re.VERBOSE,
)
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

    Read are `a/b.py`, with where in it (`:12`, `:12:3`, `#L12-L20`, `(12,5)`, `, line 12`, `::test_name`), and
    `File "a/b.py", line 12`; of a file in a temporary checkout, what follows the checkout. No other absolute path
    is one of the repository's. The path is only a hint of where the problem lies: whoever makes a scope of it
    judges it again.
    """
    ref = ref.strip()
    frame = _FRAME.fullmatch(ref)
    found = _PLACE.fullmatch(frame["path"] if frame else _LINES.sub("", ref, count=1))
    if found is None:
        return None
    path = found["path"].removeprefix("./")
    if path.startswith("/") and not {".", ".."} & set(path.split("/")):
        path = _CHECKOUT.sub("", path, count=1)
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts):
        return None
    if not path.isprintable() or (len(parts) == 1 and not _SUFFIX.search(path)):
        return None
    return path


def paths_in(refs: Iterable[str]) -> list[str]:
    """Return the files that the evidence names, in order, without doubles."""
    return list(dict.fromkeys(path for path in map(path_in, refs) if path))
