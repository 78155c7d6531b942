"""A folder inside a mirror where objects wait until they are accepted; refused or crashed, none counts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from integration.git import Place
from integration.locks import locked_folder, try_lock


class Quarantine:
    """Its own object folder and index, reading the mirror's objects beside them."""

    def __init__(self, git_dir: Path, folder: Path) -> None:
        self.git_dir = git_dir
        self.folder = folder
        self.objects = folder / "objects"
        self.index = folder / "index"
        self.place = Place(
            git_dir=git_dir,
            index_file=self.index,
            object_dir=self.objects,
            alternates=(git_dir / "objects",),
        )

    def found(self) -> list[Path]:
        """Return the files of all objects that were written here."""
        folders = [entry.path for entry in os.scandir(self.objects) if len(entry.name) == 2]
        return [Path(entry.path) for folder in folders for entry in os.scandir(folder)]

    def release(self, *, last: str) -> int:
        """Move every object into the mirror, the one named `last` at the end; return how many there were.

        So no commit in the mirror names an object that isn't there yet. Safe to race: an object that is
        already there is the same one.
        """
        found = sorted(self.found(), key=lambda path: path.parent.name + path.name == last)
        for path in found:
            target = self.git_dir / "objects" / path.parent.name / path.name
            while True:  # packing removes folders that it has emptied, perhaps between two lines of this
                try:
                    os.rename(path, target)
                    break
                except FileNotFoundError:
                    if not path.exists():
                        raise
                    target.parent.mkdir(exist_ok=True)
        return len(found)


@contextmanager
def quarantine(git_dir: Path) -> Iterator[Quarantine]:
    """Open a quarantine in the mirror at git_dir; whatever is left in it is removed at the end.

    A lock on the folder tells the living from those that a crash left (`sweep`). Raises FileNotFoundError for a
    mirror that is gone: a quarantine must never bring back a part of it, which would stand in the new one's way.
    """
    parent = git_dir / "autopack" / "quarantine"
    parent.mkdir(exist_ok=True)
    folder, descriptor = locked_folder(lambda: Path(tempfile.mkdtemp(dir=parent)))
    try:
        opened = Quarantine(git_dir, folder)
        opened.objects.mkdir()
        yield opened
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sweep(git_dir: Path) -> int:
    """Remove the quarantines whose process is gone; return how many."""
    removed = 0
    parent = git_dir / "autopack" / "quarantine"
    for folder in list(parent.iterdir()) if parent.is_dir() else []:
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if try_lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
            finally:
                os.close(descriptor)
    return removed
