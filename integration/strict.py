"""Git's strict checks over the objects of one quarantine, without a process.

`git fsck` has no way to look at the new objects alone: with alternates it reads every loose object of the
mirror too, so its time grows with the project. New objects are few and of two kinds: blobs, of which fsck
checks only the name, and trees that git itself wrote. Each is read back from disk, named anew and taken
apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from git.objects.fun import tree_entries_from_data

from autopack_site.kernel.globs import folded
from integration.names import is_git_like
from integration.objects import name_of
from integration.patch_errors import CaseCollision, GitDirectory, PatchInvalid, printable
from integration.quarantine import Quarantine

_MODES = frozenset({0o100644, 0o100755, 0o120000, 0o160000, 0o40000})
_FOLDER = 0o40000
_SYMLINK = 0o120000


@dataclass(frozen=True)
class Entry:
    """One entry of a tree. `sha` has 40 digits; `name` has surrogates for bytes that aren't UTF-8."""

    name: str
    mode: int
    sha: str

    @property
    def is_folder(self) -> bool:
        """Tell whether the entry is a tree."""
        return self.mode == _FOLDER


Trees = dict[str, tuple[Entry, ...]]


def check_objects(aside: Quarantine, *, max_object_bytes: int) -> Trees:
    """Read every new object back, check it as `git fsck --strict` would, and return the new trees by name.

    Raises PatchInvalid for an object that isn't what its name says or breaks a rule of trees, GitDirectory
    for an entry that reads as `.git`.
    """
    trees: Trees = {}
    for path in aside.found():
        name = path.parent.name + path.name
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(path.read_bytes(), max_object_bytes + 64)
        header, _, content = raw.partition(b"\0")
        kind, _, size = header.partition(b" ")
        if not unpacker.eof or kind not in (b"blob", b"tree") or size != b"%d" % len(content):
            raise PatchInvalid(f"The new object {name} is malformed or larger than allowed")
        if name_of(kind.decode(), content) != name:
            raise PatchInvalid(f"The new object {name} is not what its name says")
        if kind == b"tree":
            trees[name] = _entries(name, content)
    return trees


def judge_new_names(
    added: Sequence[str], root: str, trees: Trees, load: Callable[[str], tuple[Entry, ...]]
) -> None:
    """Judge names that are new in the tree `root` against their neighbours.

    Two paths are one name on a folding file system exactly when, in some folder, two entries are; and every
    folder above a new file is a new tree, mostly one of `trees` (`load` reads those that existed before).

    Raises CaseCollision; GitDirectory for a folder with HEAD, objects and refs: git run inside it would
    take it for a repository and obey its configuration.
    """
    forms: dict[str, dict[str, list[str]]] = {}
    for path in added:
        sha = root
        for part in path.split("/"):
            entries = trees.get(sha) or load(sha)
            if sha not in forms:
                forms[sha] = {}
                for entry in entries:
                    forms[sha].setdefault(folded(entry.name), []).append(entry.name)
            names = forms[sha]
            for other in names.get(folded(part), []):
                if other != part:
                    raise CaseCollision(
                        f"{printable(path)}: {printable(part)} and {printable(other)} are one name on some "
                        "file systems",
                        path=path,
                    )
            if names.keys() >= {"head", "objects", "refs"}:
                raise GitDirectory(f"{printable(path)} would lie in a bare repository", path=path)
            sha = next((entry.sha for entry in entries if entry.name == part), "")


def _entries(name: str, content: bytes) -> tuple[Entry, ...]:
    """Take a tree apart by fsck's rules: known modes, safe names, git's order, none twice, no null object."""
    try:
        rows = tree_entries_from_data(content)
    except (IndexError, ValueError) as error:
        raise PatchInvalid(f"The new tree {name} is malformed") from error
    entries: list[Entry] = []
    last = b""
    for binary, mode, text in rows:
        sha = binary.hex()
        file_name = text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
        if mode not in _MODES or len(binary) != 20 or sha == "0" * 40:
            raise PatchInvalid(f"The new tree {name} has an entry of an unknown mode or without an object")
        if file_name in ("", ".", "..") or "/" in file_name:
            raise PatchInvalid(f"The new tree {name} has an entry that is no file name")
        if is_git_like(file_name):
            raise GitDirectory(f"The new tree {name} has an entry that reads as .git", path=file_name)
        if mode == _SYMLINK and folded(file_name) == ".gitmodules":
            raise PatchInvalid(f"{file_name} is a symbolic link")
        # Git sorts a folder as if its name ended in a slash; names must still be unique without it.
        key = file_name.encode("utf-8", "surrogateescape") + (b"/" if mode == _FOLDER else b"")
        if entries and key <= last:
            raise PatchInvalid(f"The new tree {name} is not in order")
        last = key
        entries.append(Entry(file_name, mode, sha))
    if len({entry.name for entry in entries}) != len(entries):
        raise PatchInvalid(f"The new tree {name} names an entry twice")
    return tuple(entries)
