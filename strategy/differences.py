"""What differs between two JSON documents, by path. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any

from strategy.documents import Path


class Kind(StrEnum):
    """What became of a value."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what it was. `old` is None where it was added, `new` where it was removed.

    Indexes in `path` are those of the new document, for what was removed those of the old one.
    """

    path: Path
    kind: Kind
    old: Any
    new: Any

    @property
    def place(self) -> str:
        """Return the path as people write it: `category_defaults.docs.auto_apply`, `protected_paths[2]`."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.removeprefix(".")


def differences(old: Any, new: Any, *, ignored: Sequence[str] = ()) -> list[Difference]:
    """Return what differs, in the order of the new document's keys; `ignored` are top-level keys left out.

    Mappings are compared key by key. In lists an item that moved along with its neighbours is no difference;
    items in each other's place are compared with each other.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        old = {key: value for key, value in old.items() if key not in ignored}
        new = {key: value for key, value in new.items() if key not in ignored}
    return list(_compare(old, new, ()))


def _compare(old: Any, new: Any, path: Path) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _mappings(old, new, path)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _lists(old, new, path)
    elif _text(old) != _text(new):
        yield Difference(path, Kind.CHANGED, old, new)


def _mappings(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> Iterator[Difference]:
    for key, value in new.items():
        if key in old:
            yield from _compare(old[key], value, (*path, key))
        else:
            yield Difference((*path, key), Kind.ADDED, None, value)
    for key, value in old.items():
        if key not in new:
            yield Difference((*path, key), Kind.REMOVED, value, None)


def _lists(old: list[Any], new: list[Any], path: Path) -> Iterator[Difference]:
    matcher = SequenceMatcher(None, [_text(item) for item in old], [_text(item) for item in new], False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        shared = min(end - start, new_end - new_start)
        for offset in range(shared):
            at = new_start + offset
            yield from _compare(old[start + offset], new[at], (*path, at))
        for at in range(new_start + shared, new_end):
            yield Difference((*path, at), Kind.ADDED, None, new[at])
        for at in range(start + shared, end):
            yield Difference((*path, at), Kind.REMOVED, old[at], None)


def _text(value: Any) -> str:
    """Return a text that is equal for equal JSON values only: Python holds 1, 1.0 and true for equal."""
    return json.dumps(value, sort_keys=True)
