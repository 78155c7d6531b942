"""Logs of gates and agents as files: appended while the command runs, bounded, with head and tail kept.

Bytes are stored as they come, control sequences too: who displays them escapes them. File names are made of
ids alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from autopack_site.kernel.errors import Invalid
from autopack_site.kernel.ids import is_valid_id

MIN_BYTES = 4096
_MARK = b"\n[... %020d bytes left out ...]\n"
MARK_BYTES = len(_MARK % 0)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class LogRange:
    """A piece of a log: its bytes, where the next piece begins, and the file's size now.

    When a log passes its bound its middle is left out and the file shrinks: a `next_offset` beyond
    `size_bytes` means that a reader who follows must begin again at 0.
    """

    data: bytes
    next_offset: int
    size_bytes: int


def log_path(root: Path, *ids: str) -> Path:
    """Return the file of a stream: one folder an id, the last one the file's name. Raises Invalid."""
    for value in ids:
        if not is_valid_id(value):
            raise Invalid(f"Not an id that can name a file: {value!r}")
    if not ids:
        raise Invalid("A log needs an id")
    return root.joinpath(*ids[:-1], f"{ids[-1]}.log")


class LogWriter:
    """Appends to one log file, as its only writer; what was there is kept.

    The file never holds more than `max_bytes`: past it the first half stays, the last quarter follows a
    line that says how many bytes are missing, and the rest fills up again. Each write reaches the kernel at
    once (readers see it, a killed writer loses nothing), but isn't forced to disk.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        if max_bytes < MIN_BYTES:
            raise Invalid(f"A log needs at least {MIN_BYTES} bytes")
        self.path = path
        self.max_bytes = max_bytes
        self.head_bytes = max_bytes // 2
        self.tail_bytes = max_bytes // 4
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle = self._open()
        self._size = os.fstat(self._handle).st_size
        self.omitted_bytes = self._known_omission()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Append data."""
        step = self.tail_bytes // 2
        for start in range(0, len(data), step):
            chunk = data[start : start + step]
            if self._size + len(chunk) > self.max_bytes:
                self._compact()
            self._append(chunk)

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)

    def _append(self, data: bytes) -> None:
        while data:
            count = os.write(self._handle, data)
            self._size += count
            data = data[count:]

    def _known_omission(self) -> int:
        """Return how many bytes an earlier writer left out: its line stands right behind the head."""
        mark = os.pread(self._handle, MARK_BYTES, self.head_bytes)
        digits = mark[len(b"\n[... ") :][:20]
        is_mark = digits.isdigit() and len(mark) == MARK_BYTES and mark == _MARK % int(digits)
        return int(digits) if is_mark else 0

    def _compact(self) -> None:
        """Leave out the middle, in a new file that takes the old one's place."""
        start = self.head_bytes + (MARK_BYTES if self.omitted_bytes else 0)
        tail_start = max(start, self._size - self.tail_bytes)
        omitted = self.omitted_bytes + tail_start - start
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as handle:
            handle.write(os.pread(self._handle, self.head_bytes, 0))
            handle.write(_MARK % omitted)
            handle.write(os.pread(self._handle, self._size - tail_start, tail_start))
        temporary.replace(self.path)
        os.close(self._handle)
        self._handle = self._open()
        self._size = os.fstat(self._handle).st_size
        self.omitted_bytes = omitted


class Slice:
    """The bytes of a log as it is now, in chunks: a writer that shortens it meanwhile changes nothing of them.

    A log that isn't there yet is empty. Close it, also when it was never read.
    """

    def __init__(self, path: Path, *, chunk_bytes: int = 64 * 1024) -> None:
        try:
            self._handle = os.open(path, _READ)
        except FileNotFoundError:
            self._handle = -1
        self.size_bytes = os.fstat(self._handle).st_size if self._handle >= 0 else 0
        self._chunk_bytes = chunk_bytes
        self.select(0, self.size_bytes)

    def select(self, start: int, end: int) -> None:
        """Yield only the bytes from start up to, but without, end."""
        self._next, self._end = start, min(end, self.size_bytes)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._handle < 0 or self._next >= self._end:
            raise StopIteration
        data = os.pread(self._handle, min(self._chunk_bytes, self._end - self._next), self._next)
        if not data:
            raise StopIteration
        self._next += len(data)
        return data

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_range(path: Path, offset: int, limit: int) -> LogRange:
    """Return up to limit bytes from offset (both >= 0). A log that isn't there yet is empty."""
    if offset < 0 or limit < 0:
        raise Invalid("offset and limit can't be negative")
    try:
        handle = os.open(path, _READ)
    except FileNotFoundError:
        return LogRange(b"", offset, 0)
    try:
        size = os.fstat(handle).st_size
        data = os.pread(handle, min(limit, max(0, size - offset)), offset) if offset < size else b""
        return LogRange(data, offset + len(data), size)
    finally:
        os.close(handle)


def tail(path: Path, n: int) -> bytes:
    """Return the last n bytes of a log, or all of a shorter one."""
    if n < 0:
        raise Invalid("n can't be negative")
    while True:
        size = read_range(path, 0, 0).size_bytes
        found = read_range(path, max(0, size - n), n)
        if found.size_bytes >= size or not size:
            return found.data
