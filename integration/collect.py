"""What a builder changed in its checkout, as a patch. The checkout is hostile; its `.git` is never looked at.

Only names and bytes are taken from it, after every process in it is dead: folders are opened under their
parent's descriptor without following a link, files the same way, and read up to a bound. All else comes from
the mirror: the base's listing, its `.gitignore` files, and the diff, made in a quarantine that is thrown
away. So an agent's own commits are squashed in by construction, and its configuration, hooks, filters and
index mean nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from integration import git
from integration.git import Place
from integration.git_errors import GitOutputTooLarge
from integration.mirror import Mirror
from integration.names import MAX_FOLDERS, judge_path
from integration.objects import name_of, write
from integration.patch_errors import PatchTooLarge, UnsupportedFile, printable
from integration.quarantine import Quarantine

#: What tools leave behind. Ignored where the base doesn't track it, after the base's own `.gitignore` files.
ARTEFACTS: tuple[str, ...] = (
    "__pycache__/", "*.py[cod]", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/", ".tox/",
    ".nox/", ".venv/", "*.egg-info/", ".eggs/", ".coverage", ".coverage.*", "node_modules/", ".npm/",
    ".cache/", ".DS_Store", "*.swp", "*.orig", "*.rej",
)  # fmt: skip

_SUBMODULE = "160000"


@dataclass(frozen=True)
class CollectLimits:
    """Bounds of one collection. `max_entries` counts all names seen; an ignored folder is one."""

    max_entries: int = 200_000
    max_changed: int = 2_000
    max_file_bytes: int = 10 * 1024 * 1024
    max_total_bytes: int = 2 * 1024 * 1024 * 1024
    max_patch_bytes: int = 32 * 1024 * 1024
    max_depth: int = MAX_FOLDERS


@dataclass(frozen=True)
class Collected:
    """The changes of a checkout. `patch` is empty when there are none.

    `skipped` names what was left out though no rule ignores it: sockets, pipes and devices.
    """

    patch: bytes
    base: str
    paths: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def collect(
    mirror: Mirror,
    *,
    base: str,
    directory: Path,
    limits: CollectLimits | None = None,
    artefacts: tuple[str, ...] = ARTEFACTS,
) -> Collected:
    """Return what differs between commit base and the files of directory, as a git-format patch.

    Text and binary changes, modes, symbolic links; no renames. Built on base, the patch gives exactly these
    files. Nothing is left in the mirror.

    Raises PatchTooLarge past a limit, UnsupportedFile for what can't be taken safely, GitDirectory or
    SuspiciousName for names that git can't hold, UnknownRevision for an absent base.
    """
    limits = limits or CollectLimits()
    with mirror.quarantine() as aside:
        mirror.read_index(base, aside)
        tracked = _listing(aside)
        ignores = _Ignores(aside, tracked, artefacts)
        try:
            root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise UnsupportedFile(f"The checkout can't be opened: {error.strerror}") from error
        try:
            walk = _Walk(aside, root, tracked, ignores, limits)
            walk.run()
        finally:
            os.close(root)
        if not walk.changed:
            return Collected(b"", base, (), tuple(walk.skipped))
        rows = sorted(walk.changed.items(), key=lambda row: row[1] is not None)  # removals make room first
        feed = b"".join(
            b"%s\t%s\0" % ((f"{new[0]} {new[1]}" if new else f"0 {git.ZERO}").encode(), os.fsencode(path))
            for path, new in rows
        )
        git.run("update-index", "-z", "--index-info", place=aside.place, stdin=feed)
        try:
            patch = git.run(
                "diff-index", "--cached", "-p", "--binary", "--full-index", "--no-renames", "--no-color",
                "--src-prefix=a/", "--dst-prefix=b/", "--end-of-options", base, "--",
                place=aside.place, max_output_bytes=limits.max_patch_bytes,
            ).stdout  # fmt: skip
        except GitOutputTooLarge as error:
            raise PatchTooLarge(
                f"The changes make a patch of more than {limits.max_patch_bytes} bytes",
                limit=limits.max_patch_bytes,
            ) from error
    return Collected(patch, base, tuple(sorted(walk.changed)), tuple(walk.skipped))


def _listing(aside: Quarantine) -> dict[str, tuple[str, str]]:
    """Return path -> (mode, object name) of the base."""
    raw = git.run("ls-files", "-s", "-z", place=aside.place).stdout
    listing = {}
    for row in raw.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        about, _, path = row.partition("\t")
        mode, sha, _stage = about.split(" ")
        listing[path] = (mode, sha)
    return listing


class _Ignores:
    """The base's `.gitignore` files in an otherwise empty work tree, asked level by level."""

    def __init__(
        self, aside: Quarantine, tracked: dict[str, tuple[str, str]], artefacts: tuple[str, ...]
    ) -> None:
        self.tree = aside.folder / "ignores"
        self.tree.mkdir()
        self.place = Place(git_dir=aside.git_dir, work_tree=self.tree, index_file=aside.index)
        self.excludes = aside.folder / "excludes"
        self.excludes.write_text("".join(f"{line}\n" for line in artefacts))
        files = [
            path
            for path, (mode, _sha) in tracked.items()
            if path.rpartition("/")[2] == ".gitignore" and mode.startswith("100")
        ]
        if files:
            feed = b"".join(os.fsencode(path) + b"\0" for path in files)
            git.run("checkout-index", "--force", "-z", "--stdin", place=self.place, stdin=feed)

    def of(self, folders: list[str], files: list[str]) -> set[str]:
        """Return which of these untracked paths are ignored."""
        if not folders and not files:
            return set()
        for folder in folders:  # a pattern such as `build/` matches only what is a folder
            with suppress(FileExistsError, NotADirectoryError):  # where the base has a `.gitignore` file
                (self.tree / folder).mkdir(parents=True)
        # This one command knows no literal pathspecs; after `./` nothing in a name has a meaning.
        feed = b"".join(b"./" + os.fsencode(path) + b"\0" for path in (*folders, *files))
        done = git.run(
            "check-ignore", "-z", "--stdin", "--no-index",
            place=self.place, stdin=feed, ok=(0, 1), config=(f"core.excludesFile={self.excludes}",),
            extra_env={"GIT_LITERAL_PATHSPECS": "0"},
        )  # fmt: skip
        return {os.fsdecode(path[2:]) for path in done.stdout.split(b"\0") if path}


@dataclass
class _Level:
    """The untracked names of one depth, waiting for the ignore rules."""

    folders: list[str] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)


class _Walk:
    """One pass over the checkout, breadth first, so that an ignored folder is never entered."""

    def __init__(
        self,
        aside: Quarantine,
        root: int,
        tracked: dict[str, tuple[str, str]],
        ignores: _Ignores,
        limits: CollectLimits,
    ) -> None:
        self.aside = aside
        self.root = root
        self.tracked = tracked
        self.ignores = ignores
        self.limits = limits
        about = os.fstat(root)
        self.device, self.owner = about.st_dev, about.st_uid
        self.folders = {path[:at] for path in tracked for at, sign in enumerate(path) if sign == "/"}
        self.seen: set[str] = set()
        self.entries = 0
        self.total = 0
        self.changed: dict[str, tuple[str, str] | None] = {}
        self.skipped: list[str] = []

    def run(self) -> None:
        """Fill `changed`: path -> (mode, object) of the new file, None where a tracked one is gone."""
        todo = [""]
        for _depth in range(self.limits.max_depth):
            level = _Level()
            below: list[str] = []
            for folder in todo:
                below += self.folder(folder, level)
            ignored = self.ignores.of(level.folders, [path for path, _mode in level.files])
            below += [path for path in level.folders if path not in ignored]
            for path, mode in level.files:
                if path not in ignored:
                    self.new(path, mode)
            if not below:
                break
            todo = below
        else:
            raise PatchTooLarge(f"The checkout has folders deeper than {self.limits.max_depth}")
        for path, (old_mode, _sha) in self.tracked.items():
            if path not in self.seen and old_mode != _SUBMODULE:
                self.change(path, None)

    def folder(self, folder: str, level: _Level) -> list[str]:
        """Look at one folder's entries; return the folders with tracked files, to be entered in any case."""
        enter = []
        with self.opened(folder) as here:
            if os.fstat(here).st_dev != self.device:
                raise UnsupportedFile(f"{printable(folder)} is on another file system", path=folder)
            for name in os.listdir(here):
                self.entries += 1
                if self.entries > self.limits.max_entries:
                    raise PatchTooLarge(
                        f"The checkout has more than {self.limits.max_entries} entries",
                        limit=self.limits.max_entries,
                    )
                if name == ".git":
                    continue
                path = f"{folder}/{name}" if folder else name
                mode = os.lstat(name, dir_fd=here).st_mode
                if stat.S_ISDIR(mode):
                    if self.tracked.get(path, ("",))[0] == _SUBMODULE:
                        self.seen.add(path)
                    elif path in self.folders:
                        enter.append(path)
                    else:
                        level.folders.append(path)
                elif path in self.tracked:
                    self.seen.add(path)
                    self.known(path, mode)
                elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                    level.files.append((path, mode))
                else:
                    self.skipped.append(path)
        return enter

    def known(self, path: str, mode: int) -> None:
        """Compare a tracked file with the base."""
        found = self.taken(path, mode, known=self.tracked[path])
        if found != self.tracked[path]:
            self.change(path, found)

    def new(self, path: str, mode: int) -> None:
        """Take an untracked file."""
        judge_path(path, allow_hooks=True, allow_unwise=True)
        self.change(path, self.taken(path, mode, known=None))

    def change(self, path: str, new: tuple[str, str] | None) -> None:
        self.changed[path] = new
        if len(self.changed) > self.limits.max_changed:
            raise PatchTooLarge(
                f"More than {self.limits.max_changed} files were changed", limit=self.limits.max_changed
            )

    def taken(self, path: str, mode: int, known: tuple[str, str] | None) -> tuple[str, str]:
        """Return (mode, object) of a file or link; write the object when it isn't the known one."""
        folder, _, name = path.rpartition("/")
        with self.opened(folder) as here:
            if stat.S_ISLNK(mode):
                content = os.fsencode(os.readlink(name, dir_fd=here))
                found = ("120000", name_of("blob", content))
            elif stat.S_ISREG(mode):
                found, content = self.read(here, name, path)
            else:
                raise UnsupportedFile(f"{printable(path)} is no file any more", path=path)
        if known is None or known[1] != found[1]:
            if len(content) > self.limits.max_file_bytes:
                self.too_large(path)
            write(self.aside.objects, "blob", content)
        return found

    def read(self, here: int, name: str, path: str) -> tuple[tuple[str, str], bytes]:
        """Return ((mode, object name), content) of a regular file below its folder's descriptor.

        A pipe put in its place can't block. Of a tracked file past the bound only the name is made.
        """
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here
            )
        except OSError as error:
            raise UnsupportedFile(f"{printable(path)} can't be read: {error.strerror}", path=path) from error
        with os.fdopen(descriptor, "rb") as handle:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_dev != self.device:
                raise UnsupportedFile(f"{printable(path)} is no file of this checkout", path=path)
            if about.st_nlink > 1 and about.st_uid != self.owner:
                # A hard link to another user's file: reading it with Autopack's rights would publish it.
                raise UnsupportedFile(f"{printable(path)} is a link to another user's file", path=path)
            mode = "100755" if about.st_mode & 0o100 else "100644"
            self.total += about.st_size
            if self.total > self.limits.max_total_bytes:
                raise PatchTooLarge(f"The checkout has more than {self.limits.max_total_bytes} bytes to read")
            if about.st_size > self.limits.max_file_bytes:
                known = self.tracked.get(path, ("", ""))[1]
                if known != self.streamed(handle, about.st_size):
                    self.too_large(path)
                return (mode, known), b""
            content = handle.read(about.st_size + 1)
        if len(content) != about.st_size:
            raise UnsupportedFile(f"{printable(path)} changes while it is read", path=path)
        return (mode, name_of("blob", content)), content

    @staticmethod
    def streamed(handle: BinaryIO, size: int) -> str:
        """Return the object name of the file's first `size` bytes without holding them."""
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while size > 0 and (piece := handle.read(min(size, 1 << 20))):
            digest.update(piece)
            size -= len(piece)
        return digest.hexdigest()

    def too_large(self, path: str) -> None:
        raise PatchTooLarge(
            f"{printable(path)} has more than {self.limits.max_file_bytes} bytes",
            path=path,
            limit=self.limits.max_file_bytes,
        )

    @contextmanager
    def opened(self, folder: str) -> Iterator[int]:
        """Open a folder component by component from the root, never through a link."""
        here = os.dup(self.root)
        try:
            for part in folder.split("/") if folder else []:
                try:
                    below = os.open(
                        part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here
                    )
                except OSError as error:
                    raise UnsupportedFile(
                        f"{printable(folder)} can't be opened: {error.strerror}", path=folder
                    ) from error
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)
