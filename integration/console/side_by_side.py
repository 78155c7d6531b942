"""A patch as rows of two sides, coloured and marked, as much of it as a page holds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils.safestring import SafeString

from integration.console import highlight, patches
from integration.console.highlight import Piece
from integration.console.patches import Hunk, Line
from integration.redaction import redact

SHOWN_BYTES = 200_000
SHOWN_ROWS = 3_000
MARKED_ROWS = 400  # comparing two lines costs the square of their length
COLOURED_CHARS = 40_000


@dataclass(frozen=True)
class Side:
    """One cell pair of a row: line number and text."""

    number: int | None
    html: SafeString
    kind: str


@dataclass
class ShownHunk:
    """A hunk's header and rows."""

    header: str
    rows: list[tuple[Side, Side]] = field(default_factory=list)


@dataclass
class ShownFile:
    """A file of the patch as it is shown. `is_cut`: it has more rows than the page."""

    name: str
    notes: tuple[str, ...]
    added: int
    removed: int
    hunks: list[ShownHunk] = field(default_factory=list)
    is_cut: bool = False


@dataclass(frozen=True)
class ShownPatch:
    """The patch as it is shown; `left_out_bytes` and `left_out_files` are what only the whole patch has."""

    files: tuple[ShownFile, ...]
    size_bytes: int
    left_out_bytes: int
    left_out_files: int

    @property
    def is_cut(self) -> bool:
        """Tell whether there is more than is shown."""
        return bool(self.left_out_bytes or self.left_out_files or any(file.is_cut for file in self.files))


def show(head: bytes, size_bytes: int) -> ShownPatch:
    """Return the patch whose beginning is `head` (SHOWN_BYTES at most). Credentials in it are taken out."""
    text = redact(head.decode("utf-8", "replace"))
    files = patches.read(text)
    budget = _Budget()
    shown: list[ShownFile] = []
    for file in files:
        if budget.rows <= 0:
            break
        one = ShownFile(
            file.name, tuple(file.notes[:50]), file.added, file.removed, is_cut=len(file.notes) > 50
        )
        for hunk in file.hunks:
            if budget.rows <= 0:
                one.is_cut = True
                break
            one.hunks.append(_hunk(hunk, file.name, budget))
            one.is_cut = one.is_cut or len(one.hunks[-1].rows) < len(hunk.pairs)
        shown.append(one)
    return ShownPatch(tuple(shown), size_bytes, max(size_bytes - len(head), 0), len(files) - len(shown))


@dataclass
class _Budget:
    rows: int = SHOWN_ROWS
    marked: int = MARKED_ROWS
    coloured: int = COLOURED_CHARS


def _hunk(hunk: Hunk, name: str, budget: _Budget) -> ShownHunk:
    pairs = hunk.pairs[: budget.rows]
    budget.rows -= len(pairs)
    old = _styled([pair.old for pair in pairs], name, budget)
    new = _styled([pair.new for pair in pairs], name, budget)
    shown = ShownHunk(hunk.header)
    for index, pair in enumerate(pairs):
        spans: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]] = ((), ())
        if pair.old.kind == "del" and pair.new.kind == "add" and budget.marked > 0:
            budget.marked -= 1
            spans = highlight.differing(pair.old.text, pair.new.text)
        shown.rows.append(
            (
                Side(pair.old.number, highlight.html(old[index], spans[0]), pair.old.kind),
                Side(pair.new.number, highlight.html(new[index], spans[1]), pair.new.kind),
            )
        )
    return shown


def _styled(side: Sequence[Line], name: str, budget: _Budget) -> list[list[Piece]]:
    """Style one side's lines together, as they follow each other in the file."""
    there = [line.text for line in side if line.kind != "none"]
    budget.coloured -= sum(map(len, there))
    styled = iter(highlight.lines(there, name if budget.coloured >= 0 else ""))
    return [next(styled) if line.kind != "none" else [] for line in side]
