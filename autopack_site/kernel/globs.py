"""Path globs of scopes and protected paths. Matching takes no regular expression and never backtracks far.

A pattern is anchored at the root of the repository and is compared component by component:

- `*` stands for any characters of one component, `?` for one; both never cross a `/`;
- `**` as a whole component stands for any number of components, none included;
- everything else is literal, brackets too (`pages/[id].tsx` is a common name);
- a pattern whose last component has no wildcard also covers all that is below it: `src` means the folder too;
- a leading `/` or `./` changes nothing; a pattern ending in `/` covers only what is below it.

So `*.py` is a Python file at the root, and `**/*.py` one anywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MAX_PATTERN = 1024


def matches(path: str, pattern: str, *, fold: bool = False) -> bool:
    """Tell whether pattern covers path. `fold` compares as a case-folding file system would (`folded`).

    Time is at most proportional to len(path) * len(pattern). A pattern over 1,024 characters covers nothing.
    """
    if len(pattern) > MAX_PATTERN:
        return False
    if fold:
        path, pattern = folded(path), folded(pattern)
    while pattern.startswith("./"):
        pattern = pattern[2:]
    pattern = pattern.lstrip("/")
    if not pattern:
        return False
    if pattern.endswith("/"):
        pattern += "**/*"
    parts = pattern.split("/")
    if "*" not in parts[-1] and "?" not in parts[-1]:
        parts.append("**")
    return _walk(path.split("/"), parts)


def covered(path: str, patterns: Iterable[str], *, fold: bool = False) -> bool:
    """Tell whether any of the patterns covers path."""
    return any(matches(path, pattern, fold=fold) for pattern in patterns)


def folded(path: str) -> str:
    """Return the form in which two names are one on some file system: NFKC, case folded, NFKC again."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _walk(names: list[str], parts: list[str]) -> bool:
    """Match components greedily, falling back only to the last `**` (as one does for `*` in a string)."""
    at = part = 0
    star = -1
    mark = 0
    while at < len(names):
        if part < len(parts) and parts[part] == "**":
            star, mark = part, at
            part += 1
        elif part < len(parts) and _component(names[at], parts[part]):
            at, part = at + 1, part + 1
        elif star >= 0:
            mark += 1
            at, part = mark, star + 1
        else:
            return False
    return all(rest == "**" for rest in parts[part:])


def _component(name: str, part: str) -> bool:
    at = sign = 0
    star = -1
    mark = 0
    while at < len(name):
        if sign < len(part) and part[sign] == "*":
            star, mark = sign, at
            sign += 1
        elif sign < len(part) and part[sign] in ("?", name[at]):
            at, sign = at + 1, sign + 1
        elif star >= 0:
            mark += 1
            at, sign = mark, star + 1
        else:
            return False
    return all(rest == "*" for rest in part[sign:])
