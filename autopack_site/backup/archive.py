"""The file: a plain tar of regular files, the manifest last, with the size and SHA-256 of each.

Only names below the roots that a backup has are written or read, never a link or a device: what a restore
writes stays below the folder that it was given.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from autopack_site.backup.errors import BackupUnsound

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database.dump"
_NAME = re.compile(r"(mirrors|logs)(/(?!\.\.?(/|$))[^/\x00]+)+|database\.dump")
_BLOCK_BYTES = 1024 * 1024
_MANIFEST_LIMIT_BYTES = 512 * 1024 * 1024


class Writer:
    """Writes `target` beside its place and renames it when all is in it; a failure leaves nothing."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        self._entries: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Writer:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._raw = os.fdopen(os.open(self._partial, flags, 0o600), "wb")
        self._tar = tarfile.open(fileobj=self._raw, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()
        self._partial.unlink(missing_ok=True)

    def add(self, name: str, path: Path) -> bool:
        """Add a regular file as it is now; False when it is gone, or no regular file.

        A log that grows meanwhile is cut at the length that it had, one that shrinks is filled with zeros.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as handle:
            entry = tarfile.TarInfo(name)
            entry.size = os.fstat(handle.fileno()).st_size
            if not path.is_file():
                return False
            reader = _Hashing(handle, entry.size)
            self._tar.addfile(entry, reader)  # type: ignore[arg-type]
        self._entries[name] = {"bytes": entry.size, "sha256": reader.digest()}
        return True

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the manifest and put the file in its place."""
        document = {"format": FORMAT, **facts, "files": self._entries}
        data = json.dumps(document, indent=1, sort_keys=True).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))
        self._tar.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._partial.rename(self._target)


class _Hashing:
    """Reads exactly `size` bytes of a file, and knows their SHA-256."""

    def __init__(self, handle: IO[bytes], size: int) -> None:
        self._handle, self._left, self._hash = handle, size, hashlib.sha256()

    def read(self, count: int) -> bytes:
        wanted = min(count, self._left)
        data = self._handle.read(wanted).ljust(wanted, b"\0")
        self._left -= len(data)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()


def check(path: Path) -> dict[str, Any]:
    """Read the whole file and return its manifest.

    Raises BackupUnsound unless exactly the files of the manifest are in it, each as it was written.
    """
    found: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    with _opened(path) as tar:
        for entry, handle in _members(tar):
            if manifest is not None:
                raise BackupUnsound(f"{path.name} goes on after its manifest")
            if entry.name == MANIFEST:
                manifest = _manifest(handle.read(_MANIFEST_LIMIT_BYTES))
                continue
            digest = hashlib.sha256()
            while block := handle.read(_BLOCK_BYTES):
                digest.update(block)
            if entry.name in found:
                raise BackupUnsound(f"{entry.name} is in it twice")
            found[entry.name] = {"bytes": entry.size, "sha256": digest.hexdigest()}
    if manifest is None:
        raise BackupUnsound(f"{path.name} has no manifest: it is no backup, or not a whole one")
    if manifest.get("format") != FORMAT:
        raise BackupUnsound(
            f"{path.name} is of format {manifest.get('format')!r}; this Autopack reads {FORMAT}"
        )
    wrong = sorted(
        name
        for name in found.keys() | manifest["files"].keys()
        if found.get(name) != manifest["files"].get(name)
    )
    if wrong or DATABASE not in found:
        raise BackupUnsound(f"{path.name} differs from its manifest: {', '.join(wrong[:5]) or DATABASE}")
    return manifest


def extract(path: Path, folder: Path) -> None:
    """Write every file of a checked backup below the empty folder."""
    with _opened(path) as tar:
        for entry, handle in _members(tar):
            if entry.name == MANIFEST:
                continue
            place = folder / entry.name
            place.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with os.fdopen(os.open(place, flags, 0o600), "wb") as out:
                while block := handle.read(_BLOCK_BYTES):
                    out.write(block)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, mode="r|") as tar:
            yield tar
    except tarfile.TarError as error:
        raise BackupUnsound(f"{path.name} can't be read: {error}") from error
    except (OSError, EOFError) as error:
        raise BackupUnsound(f"{path} can't be read: {error}") from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    for entry in tar:
        if not entry.isreg() or not (entry.name == MANIFEST or _NAME.fullmatch(entry.name)):
            raise BackupUnsound(f"It holds what no backup does: {entry.name[:200]!r}")
        handle = tar.extractfile(entry)
        assert handle is not None
        yield entry, handle


def _manifest(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
        if isinstance(document["files"], dict):
            return dict(document)
    except (ValueError, TypeError, KeyError):
        pass
    raise BackupUnsound("Its manifest can't be read")
