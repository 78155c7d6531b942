"""Whether two path globs can cover one and the same path: the question that a rule on paths asks of a scope.

Globs are those of `kernel.globs`, compared as a case-folding file system would. The answer is exact but for the depth
of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from autopack_site.kernel.globs import folded

_STARS = re.compile(r"\*+")


def may_touch(scope: Iterable[str], globs: Iterable[str]) -> bool:
    """Tell whether work in the scope may touch what the globs cover. An empty scope is the whole repository."""
    entries = tuple(scope)
    return not entries or any(overlaps(entry, glob) for entry in entries for glob in globs)


@lru_cache(maxsize=4096)
def overlaps(first: str, second: str) -> bool:
    """Tell whether some path is covered by both globs."""
    one, two = _parts(first), _parts(second)
    if not one or not two:
        return False
    return _meet(one, two)


def _parts(glob: str) -> tuple[str, ...]:
    glob = folded(glob)
    while glob.startswith("./"):
        glob = glob[2:]
    glob = glob.lstrip("/")
    if not glob:
        return ()
    if glob.endswith("/"):
        glob += "**/*"
    parts = glob.split("/")
    if "*" not in parts[-1] and "?" not in parts[-1]:
        parts.append("**")
    return tuple(parts)


def _meet(one: tuple[str, ...], two: tuple[str, ...]) -> bool:
    """Walk both globs together over every path at once: row by row, which pairs of places can be reached."""
    reached = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        at, other = waiting.pop()
        if at == len(one) and other == len(two):
            return True
        following: list[tuple[int, int]] = []
        left = one[at] if at < len(one) else None
        right = two[other] if other < len(two) else None
        if left == "**":
            following.append((at + 1, other))  # it stands for nothing
            if right is not None and right != "**":
                following.append((at, other + 1))  # or takes the other's component
        if right == "**":
            following.append((at, other + 1))
            if left is not None and left != "**":
                following.append((at + 1, other))
        if left not in (None, "**") and right not in (None, "**") and _names_meet(str(left), str(right)):
            following.append((at + 1, other + 1))
        for pair in following:
            if pair not in reached:
                reached.add(pair)
                waiting.append(pair)
    return False


@lru_cache(maxsize=4096)
def _names_meet(one: str, two: str) -> bool:
    """Tell whether some name of one component fits both patterns.

    Each character of `one` moves the set of places of `two` that a common name may have reached. The set is the bits
    of a number, so that two long patterns take as many steps as one of them has characters: scopes are hostile.
    """
    if one == two:
        return True
    one, two = _STARS.sub("*", one), _STARS.sub("*", two)
    places: dict[str, int] = {}
    for place, mark in enumerate(two):
        places[mark] = places.get(mark, 0) | 1 << place
    stars, everywhere = places.get("*", 0), (1 << len(two) + 1) - 1
    literal = (1 << len(two)) - 1 & ~stars
    reached = 1 | (1 & stars) << 1
    for mark in one:
        if not reached:
            return False
        if mark == "*":  # it takes what `two` says next, however much: every place from the first on
            reached = everywhere & ~((reached & -reached) - 1)
            continue
        fits = literal if mark == "?" else places.get(mark, 0) | places.get("?", 0)
        reached = (reached & fits) << 1 | reached & stars
        reached |= (reached & stars) << 1
    return bool(reached >> len(two) & 1)
