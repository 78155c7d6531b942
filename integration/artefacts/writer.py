"""Whole files, or none: a temporary file beside the target, forced to disk, then renamed over it.

All of it works through descriptors of the folders, opened without following links: the place below the root is
Autopack's alone, so a link found there is removed and never followed. Callers hold the folder's lock.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Set
from functools import partial
from operator import itemgetter
from pathlib import Path

from integration.artefacts.errors import ArtefactsUnwritable
from integration.artefacts.names import Place

FILE_MODE = 0o640  # artefacts hold the project's code: readable to the service and its group
FOLDER_MODE = 0o750
_PART_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


Parts = Callable[[], Iterator[bytes]]
Content = bytes | Parts  # what a file holds: at hand, or made a part after the other each time it is called


class Tree:
    """The files below one root. Places are tuples of names that `names` made."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: Mapping[Place, Content]) -> list[Place]:
        """Make each file hold exactly its bytes; return those that were changed, sorted.

        Each file is replaced whole or left as it was. Raises ArtefactsUnwritable.
        """
        changed: list[Place] = []
        with _refusals(self.root):
            self.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            for folder, inside in sorted(_by_folder(files).items()):
                with self._folder(folder, make=True) as descriptor:
                    assert descriptor is not None  # it was made
                    replaced = [name for name, data in inside if _replace(descriptor, name, data)]
                    if replaced:
                        os.fsync(descriptor)  # the renames themselves
                changed += [(*folder, name) for name in replaced]
        return changed

    def differing(self, files: Mapping[Place, Content]) -> list[Place]:
        """Return the places whose file is absent or holds other bytes, sorted. Nothing is changed."""
        wrong: list[Place] = []
        with _refusals(self.root):
            for folder, inside in sorted(_by_folder(files).items()):
                with self._folder(folder, make=False) as descriptor:
                    wrong += [
                        (*folder, name)
                        for name, data in inside
                        if descriptor is None or not _holds(descriptor, name, data)
                    ]
        return wrong

    def strays(self, folder: Place, expected: Set[Place]) -> list[Place]:
        """Return what lies in folder (not below it) and is not expected, sorted. No folder: nothing."""
        with _refusals(self.root), self._folder(folder, make=False) as descriptor:
            if descriptor is None:
                return []
            names = sorted(os.listdir(descriptor))
        wanted = {place[: len(folder) + 1] for place in expected}
        return [place for name in names if (place := (*folder, name)) not in wanted]

    def remove(self, places: list[Place]) -> None:
        """Remove files and links, and folders with what is in them. Links are never followed."""
        with _refusals(self.root):
            for *folder, name in places:
                with self._folder(tuple(folder), make=False) as descriptor:
                    if descriptor is not None:
                        _remove(descriptor, name)

    @contextlib.contextmanager
    def _folder(self, folder: Place, *, make: bool) -> Iterator[int | None]:
        """Yield a descriptor of folder, or None where it is not there and isn't to be made."""
        try:
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield None
            return
        try:
            for name in folder:
                below = _enter(descriptor, name, make=make)
                if below is None:
                    break
                os.close(descriptor)
                descriptor = below
            else:
                yield descriptor
                return
            yield None
        finally:
            os.close(descriptor)


def _by_folder(files: Mapping[Place, Content]) -> dict[Place, list[tuple[str, Content]]]:
    folders: dict[Place, list[tuple[str, Content]]] = {}
    for place, data in sorted(files.items(), key=itemgetter(0)):
        folders.setdefault(place[:-1], []).append((place[-1], data))
    return folders


def _enter(parent: int, name: str, *, make: bool) -> int | None:
    """Open a folder below parent; a link or file in its place is no folder and, if `make`, makes room."""
    if make:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, FOLDER_MODE, dir_fd=parent)
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):  # ENOTDIR is also what a link answers to O_DIRECTORY
        if make:
            raise
        return None


def _holds(folder: int, name: str, data: Content) -> bool:
    """Tell whether name is a plain file of exactly these bytes."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as handle:
        found = os.fstat(handle.fileno())
        if not stat.S_ISREG(found.st_mode) or (isinstance(data, bytes) and found.st_size != len(data)):
            return False
        return all(handle.read(len(part)) == part for part in _parts(data)) and not handle.read(1)


def _parts(data: Content) -> Iterator[bytes]:
    return iter((data,)) if isinstance(data, bytes) else data()


def _replace(folder: int, name: str, data: Content) -> bool:
    """Make name hold data; False when it did already."""
    if isinstance(data, bytes) and _holds(folder, name, data):
        return False
    temporary = f".{name}.new"  # one writer at a time: a file of this name is a killed writer's
    with contextlib.suppress(FileNotFoundError):
        _remove(folder, temporary)
    try:
        with os.fdopen(os.open(temporary, _CREATE, FILE_MODE, dir_fd=folder), "wb") as handle:
            for part in _parts(data):
                handle.write(part)
            handle.flush()
            if not isinstance(data, bytes) and _holds(folder, name, partial(_read_parts, folder, temporary)):
                os.unlink(temporary, dir_fd=folder)  # made once: what makes it may take long
                return False
            os.fsync(handle.fileno())
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    return True


def _read_parts(folder: int, name: str) -> Iterator[bytes]:
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as handle:
        while part := handle.read(_PART_BYTES):
            yield part


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # a folder: Linux says EISDIR, POSIX EPERM
        below = _enter(folder, name, make=False)
        if below is None:
            raise
    try:
        for inner in os.listdir(below):
            _remove(below, inner)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=folder)


@contextlib.contextmanager
def _refusals(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtefactsUnwritable(
            f"{error.strerror or type(error).__name__}: {error.filename or root}", errno=error.errno
        ) from error
