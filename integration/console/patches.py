"""A stored patch as files, hunks and paired lines, for people to read side by side. Pure, bounded, tolerant.

The judge refuses what it doesn't understand (`integration.diffs`); here such a patch must still be shown, so that
somebody sees why. Every line of the text appears: what belongs to no hunk is shown as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_HEADER = re.compile(r"diff --git (.*)")
_BOTH = re.compile(r'"?a/(.+?)"? "?b/(.+?)"?')
MAX_NAME_CHARS = 300


@dataclass(frozen=True)
class Line:
    """One side of a row: its number in the file and its text. `kind` is same, add, del or none (no such line)."""

    number: int | None
    text: str
    kind: str


NOTHING = Line(None, "", "none")


@dataclass(frozen=True)
class Pair:
    """One row of the side-by-side view."""

    old: Line
    new: Line


@dataclass
class Hunk:
    """A hunk: what its header says and its rows."""

    header: str
    pairs: list[Pair] = field(default_factory=list)


@dataclass
class FilePatch:
    """One file of the patch. `notes` are its header's lines, and lines that belong to no hunk."""

    name: str
    notes: list[str] = field(default_factory=list)
    hunks: list[Hunk] = field(default_factory=list)
    added: int = 0
    removed: int = 0


def read(text: str) -> list[FilePatch]:
    """Return the files in the order in which they stand."""
    files: list[FilePatch] = []
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    at = 0
    while at < len(lines):
        line = lines[at]
        header, hunk = _HEADER.match(line), _HUNK.match(line)
        if header is not None:
            files.append(FilePatch(_name(header[1])))
        elif hunk is not None and files:
            at = _hunk(lines, at, hunk, files[-1])
            continue
        else:
            if not files:
                files.append(FilePatch("(before the first file)"))
            files[-1].notes.append(line)
        at += 1
    return files


def _name(names: str) -> str:
    both = _BOTH.fullmatch(names)
    if both is None:
        return names[:MAX_NAME_CHARS]
    old, new = both[1], both[2]
    return (new if old == new else f"{old} -> {new}")[:MAX_NAME_CHARS]


def _hunk(lines: list[str], at: int, header: re.Match[str], file: FilePatch) -> int:
    """Read one hunk as far as its header's counts and its lines agree; return where the next line stands."""
    old, new = int(header[1]), int(header[3])
    old_left, new_left = int(header[2] or 1), int(header[4] or 1)
    hunk = Hunk(lines[at])
    file.hunks.append(hunk)
    removed: list[Line] = []
    added: list[Line] = []
    at += 1
    while at < len(lines) and (old_left > 0 or new_left > 0 or lines[at].startswith("\\")):
        line = lines[at]
        mark, text = line[:1], line[1:]
        if mark == "-" and old_left > 0:
            removed.append(Line(old, text, "del"))
            old, old_left = old + 1, old_left - 1
            file.removed += 1
        elif mark == "+" and new_left > 0:
            added.append(Line(new, text, "add"))
            new, new_left = new + 1, new_left - 1
            file.added += 1
        elif mark in (" ", "") and old_left > 0 and new_left > 0:
            hunk.pairs += _paired(removed, added)
            hunk.pairs.append(Pair(Line(old, text, "same"), Line(new, text, "same")))
            old, new, old_left, new_left = old + 1, new + 1, old_left - 1, new_left - 1
        elif mark == "\\":
            _no_newline(removed if removed and not added else added, hunk)
        else:
            break
        at += 1
    hunk.pairs += _paired(removed, added)
    return at


def _no_newline(side: list[Line], hunk: Hunk) -> None:
    """Say at the line before it that it has no line end."""
    told = " (no line end)"
    if side:
        last = side[-1]
        side[-1] = Line(last.number, last.text + told, last.kind)
    elif hunk.pairs:
        last_pair = hunk.pairs[-1]
        hunk.pairs[-1] = Pair(
            Line(last_pair.old.number, last_pair.old.text + told, last_pair.old.kind),
            Line(last_pair.new.number, last_pair.new.text + told, last_pair.new.kind),
        )


def _paired(removed: list[Line], added: list[Line]) -> Iterator[Pair]:
    """Set removed lines beside the added ones that follow them, in order; empties both."""
    pairs = [
        Pair(
            removed[index] if index < len(removed) else NOTHING,
            added[index] if index < len(added) else NOTHING,
        )
        for index in range(max(len(removed), len(added)))
    ]
    removed.clear()
    added.clear()
    return iter(pairs)
