"""Reading result files that a command left, when all its processes are dead. The tree is hostile.

Every component is opened relative to its folder's descriptor and never through a link; only regular files
are read, without blocking, and never more than the given bounds.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from integration.sandbox.errors import SandboxMisuse

Status = Literal["ok", "missing", "too_large", "not_regular", "unreadable"]

MAX_NAMES = 20_000
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True)
class Collected:
    """One file asked for: its path within the checkout, what was found, and its bytes when `ok`."""

    path: str
    status: Status
    data: bytes = b""


def _parts(relative: str) -> list[str]:
    parts = relative.split("/")
    if relative.startswith("/") or "\0" in relative or any(part in ("", ".", "..") for part in parts):
        raise SandboxMisuse(f"Not a plain path within the checkout: {relative!r}")
    return parts


def _status(error: OSError) -> Status:
    if error.errno == errno.ENOENT:
        return "missing"
    # ELOOP: a link. ENOTDIR: a file (or a link) in a folder's place. ENXIO: a socket.
    return "not_regular" if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO) else "unreadable"


def _read(folder: int, name: str, path: str, max_bytes: int) -> Collected:
    try:
        handle = os.open(name, FILE, dir_fd=folder)
    except OSError as exc:
        return Collected(path, _status(exc))
    try:
        entry = os.fstat(handle)
        if not stat.S_ISREG(entry.st_mode):
            return Collected(path, "not_regular")
        if entry.st_size > max_bytes:
            return Collected(path, "too_large")
        data = bytearray()
        while len(data) <= max_bytes and (chunk := os.read(handle, min(1 << 20, max_bytes + 1 - len(data)))):
            data += chunk
        return Collected(path, "too_large") if len(data) > max_bytes else Collected(path, "ok", bytes(data))
    except OSError as exc:
        return Collected(path, _status(exc))
    finally:
        os.close(handle)


def _names(folder: int, pattern: str) -> list[str]:
    """Return the names in folder that match, in order; at most the first MAX_NAMES entries are looked at."""
    found: list[str] = []
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= MAX_NAMES:
                break
            if fnmatch.fnmatchcase(entry.name, pattern) and "\n" not in entry.name:
                found.append(entry.name)
    return sorted(found)


def _walk(folder: int, parts: list[str], above: str, max_bytes: int) -> Iterator[Collected]:
    pattern, rest = parts[0], parts[1:]
    is_pattern = any(mark in pattern for mark in "*?[")
    for name in _names(folder, pattern) if is_pattern else [pattern]:
        path = f"{above}{name}"
        if not rest:
            yield _read(folder, name, path, max_bytes)
            continue
        try:
            inner = os.open(name, FOLDER, dir_fd=folder)
        except OSError as exc:
            if not is_pattern:
                yield Collected("/".join([path, *rest]), _status(exc))
            continue
        try:
            yield from _walk(inner, rest, f"{path}/", max_bytes)
        finally:
            os.close(inner)


def collect(checkout: Path, pattern: str, *, max_bytes: int, max_files: int = 500) -> tuple[Collected, ...]:
    """Return the files that match pattern (`*`, `?` and `[...]` within a component; no `**`), in order.

    A plain path always gives one row; a pattern without a match gives one `missing` row. `max_bytes` bounds
    each file and all of them together: what passes it is `too_large`. Raises SandboxMisuse for a pattern
    that is absolute or holds '..'.
    """
    parts = _parts(pattern)
    found: list[Collected] = []
    room = max_bytes
    try:
        top = os.open(checkout, FOLDER)
    except OSError as exc:
        return (Collected(pattern, _status(exc)),)
    try:
        for row in _walk(top, parts, "", max_bytes):
            if len(found) >= max_files:
                found.append(Collected(pattern, "too_large"))
                break
            over = len(row.data) > room
            room -= 0 if over else len(row.data)
            found.append(Collected(row.path, "too_large") if over else row)
    finally:
        os.close(top)
    return tuple(found) or (Collected(pattern, "missing"),)
