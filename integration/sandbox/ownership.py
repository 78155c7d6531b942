"""Whose a checkout is: handing it to an attempt's uid, taking it back, deleting what was left of it.

Trees are walked by directory descriptors, opened without following links, so that nothing which a command
arranged inside (links, swapped folders, closed modes, endless depth) leads outside the tree.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from integration.sandbox.errors import SandboxMisuse, TreeNotRemoved, TreeTooDeep

MAX_DEPTH = 512  # a descriptor is open for each level while walking
PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def _add_mode(name: str, bits: int, parent: int) -> None:
    """Add bits to the mode of a file or folder, never of what a link points to."""
    handle = os.open(name, PATH_ONLY, dir_fd=parent)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISLNK(mode) and mode & bits != bits:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(mode) | bits)
    finally:
        os.close(handle)


def _open_folder(name: str, parent: int) -> int:
    """Open a folder for listing and changing; one that its owner had closed is opened up first."""
    with contextlib.suppress(PermissionError):
        _add_mode(name, 0o700, parent)
    return os.open(name, FOLDER, dir_fd=parent)


@contextlib.contextmanager
def _parent_of(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 3:
        raise SandboxMisuse(f"Not a folder of our own: {path}")
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle, path.name
    finally:
        os.close(handle)


def _each(folder: int, act: Callable[[int, str, os.stat_result], None], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TreeTooDeep(f"Nested deeper than {MAX_DEPTH} folders")
    for name in os.listdir(folder):
        entry = os.stat(name, dir_fd=folder, follow_symlinks=False)
        act(folder, name, entry)
        if stat.S_ISDIR(entry.st_mode):
            inner = _open_folder(name, folder)
            try:
                _each(inner, act, depth + 1)
            finally:
                os.close(inner)


def _unshare_file(folder: int, name: str, entry: os.stat_result) -> None:
    """Replace one of several hard links by a copy: its other names may lie in a store of ours."""
    temporary = f".autopack-copy-{os.getpid()}"
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(temporary, flags, stat.S_IMODE(entry.st_mode) & 0o777, dir_fd=folder)
        try:
            while os.sendfile(target, source, None, 1 << 30):
                pass
        finally:
            os.close(target)
    finally:
        os.close(source)
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def hand_over(path: Path, uid: int) -> None:
    """Make uid (and the gid of the same number) the owner of the tree at path, links themselves included.

    For a tree that only this service has written so far. A file with further hard links is copied first, so
    that what it is linked with (an object store) keeps its owner. Under an ordinary user only that user can
    be given anything, so this does nothing. Raises SandboxMisuse for a path that is no folder of our own.
    """
    if os.geteuid() != 0:
        if uid != os.geteuid():
            raise SandboxMisuse("Only root can hand a folder to another uid")
        return

    def give(folder: int, name: str, entry: os.stat_result) -> None:
        if stat.S_ISREG(entry.st_mode) and entry.st_nlink > 1:
            _unshare_file(folder, name, entry)
        os.chown(name, uid, uid, dir_fd=folder, follow_symlinks=False)

    with _parent_of(path) as (parent, name):
        top = os.open(name, FOLDER, dir_fd=parent)
        try:
            _each(top, give, 1)
            os.chown(top, uid, uid)
        finally:
            os.close(top)


def reclaim(path: Path, uid: int | None = None) -> None:
    """Take a tree back after every process of its command is dead: readable to us again, and ours.

    Under root only what belongs to `uid` changes its owner, and files with further hard links stay as they
    are. Folders get u+rwx and files u+rw; nothing else of a mode changes but that setuid and setgid bits go.
    Raises TreeTooDeep for a tree that no honest command makes: `remove_tree` still deletes it.
    """
    as_root = os.geteuid() == 0

    def take(folder: int, name: str, entry: os.stat_result) -> None:
        if as_root:
            linked = not stat.S_ISDIR(entry.st_mode) and entry.st_nlink > 1
            if uid is not None and entry.st_uid == uid and not linked:
                os.chown(name, 0, 0, dir_fd=folder, follow_symlinks=False)
        elif stat.S_ISREG(entry.st_mode):
            _add_mode(name, 0o600, folder)

    with _parent_of(path) as (parent, name):
        if as_root and uid is not None:
            os.chown(name, 0, 0, dir_fd=parent, follow_symlinks=False)
        top = _open_folder(name, parent)
        try:
            _each(top, take, 1)
        finally:
            os.close(top)


def _empty(folder: int, top: int, counter: Iterator[int]) -> None:
    """Delete the files in folder and move its folders up to top: depth never grows, two descriptors do."""
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except (IsADirectoryError, PermissionError):
            with contextlib.suppress(PermissionError):
                _add_mode(name, 0o700, folder)  # moving a folder writes its ".."
            os.rename(name, f".autopack-doomed-{next(counter)}", src_dir_fd=folder, dst_dir_fd=top)


def _numbers() -> Iterator[int]:
    """Count on a random base: names that a command can't have taken."""
    number = int.from_bytes(os.urandom(8), "big") << 32
    while True:
        number += 1
        yield number


def remove_tree(path: Path) -> None:
    """Delete the tree at path, whatever a command left in it; nothing outside is touched. Safe to repeat.

    Every process of the command must be dead. A link or a file at path itself is unlinked. Raises
    TreeNotRemoved when something can't be deleted (an immutable file, a mount).
    """
    with _parent_of(path) as (parent, name):
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            pass
        else:
            return
        try:
            _remove_folder(name, parent)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise TreeNotRemoved(f"{path}: {exc}") from exc


def _remove_folder(name: str, parent: int) -> None:
    top = _open_folder(name, parent)
    try:
        counter = _numbers()
        _empty_top(top)
        while names := os.listdir(top):
            for inner_name in names:
                inner = _open_folder(inner_name, top)
                try:
                    _empty(inner, top, counter)
                finally:
                    os.close(inner)
                os.rmdir(inner_name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty_top(top: int) -> None:
    """Delete the files at the top; what stays is folders only."""
    for name in os.listdir(top):
        if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=top)
