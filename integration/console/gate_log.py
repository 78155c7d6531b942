"""A gate's log for people: a window of it, what follows a place in it, and the lines that hold a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.utils.safestring import SafeString, mark_safe

from integration import logs
from integration.console.texts import marked, plain_log
from integration.models import GateRun
from integration.repository import log_path

WINDOW_BYTES = 64 * 1024
CHUNK_BYTES = 1024 * 1024
LINE_BYTES = 1024 * 1024
FOUND_LINES = 200
FOUND_CHARS = 500
MAX_SEARCH_CHARS = 200


@dataclass(frozen=True)
class Window:
    """A piece of a log in whole lines. `start` and `next_offset` are bytes; `size_bytes` is the log's size now."""

    html: SafeString
    start: int
    next_offset: int
    size_bytes: int

    @property
    def is_whole(self) -> bool:
        """Tell whether this is all there is."""
        return self.start == 0 and self.next_offset >= self.size_bytes

    @property
    def before(self) -> int:
        """Return where the window before this one begins."""
        return max(self.start - WINDOW_BYTES, 0)


@dataclass(frozen=True)
class Found:
    """Lines of a log that hold a text: (number from 1, the line as HTML). `has_more`: there are others."""

    lines: tuple[tuple[int, SafeString], ...]
    has_more: bool


def path_of(gate: GateRun) -> Path:
    """Return where the gate's log lies."""
    return log_path(gate.run_id, f"gate-{gate.pk}")


def last(gate: GateRun) -> Window:
    """Return the end of the log."""
    size = logs.read_range(path_of(gate), 0, 0).size_bytes
    return window(gate, max(size - WINDOW_BYTES, 0), is_end=gate.state == GateRun.State.DONE)


def window(gate: GateRun, offset: int, *, is_end: bool) -> Window:
    """Return up to WINDOW_BYTES from the offset, in whole lines. With `is_end` an unfinished last line counts.

    A log whose middle was left out meanwhile is shorter than the offset: then it begins anew, at its start.
    """
    piece = logs.read_range(path_of(gate), offset, WINDOW_BYTES)
    if offset > piece.size_bytes:
        offset, piece = 0, logs.read_range(path_of(gate), 0, WINDOW_BYTES)
    data = piece.data
    if not (is_end and piece.next_offset >= piece.size_bytes):
        whole = data.rfind(b"\n") + 1
        data = data[: whole or (len(data) if len(data) == WINDOW_BYTES else 0)]
    return Window(marked(plain_log(data)), offset, offset + len(data), piece.size_bytes)


def search(gate: GateRun, wanted: str) -> Found:
    """Return the first FOUND_LINES lines that hold the text, in whatever letters. Reads the log piece by piece."""
    needle = wanted[:MAX_SEARCH_CHARS].casefold()
    found: list[tuple[int, SafeString]] = []
    for number, line in enumerate(_lines(path_of(gate)), start=1):
        if needle in line.casefold():
            if len(found) == FOUND_LINES:
                return Found(tuple(found), has_more=True)
            found.append((number, _with_marks(line[:FOUND_CHARS], needle)))
    return Found(tuple(found), has_more=False)


def chunks(gate: GateRun) -> Iterator[bytes]:
    """Return the whole log as stored, piece by piece, as far as it went when this began."""
    path, offset = path_of(gate), 0
    size = logs.read_range(path, 0, 0).size_bytes
    while offset < size:
        piece = logs.read_range(path, offset, min(CHUNK_BYTES, size - offset))
        if not piece.data:
            return
        yield piece.data
        offset = piece.next_offset


def _lines(path: Path) -> Iterator[str]:
    offset, rest = 0, b""
    while True:
        piece = logs.read_range(path, offset, CHUNK_BYTES)
        if not piece.data:
            break
        offset = piece.next_offset
        *whole, rest = (rest + piece.data).split(b"\n")
        if len(rest) > LINE_BYTES:  # a line without an end must not be gathered for ever
            whole, rest = [*whole, rest], b""
        if whole:
            yield from plain_log(b"\n".join(whole)).split("\n")
    if rest:
        yield plain_log(rest)


def _with_marks(line: str, needle: str) -> SafeString:
    """Return the line as HTML, each place that holds the text marked."""
    lowered = line.casefold()
    if len(lowered) != len(line):  # some letters fold to two: then places don't agree
        return marked(line)
    parts: list[str] = []
    done = 0
    while (at := lowered.find(needle, done)) >= 0 and needle:
        end = at + len(needle)
        parts += [marked(line[done:at]), "<mark>", marked(line[at:end]), "</mark>"]
        done = end
    parts.append(marked(line[done:]))
    return mark_safe("".join(parts))  # noqa: S308 (`marked` escapes)
