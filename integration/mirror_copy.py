"""A mirror's files for a backup, in the order that makes the copy sound, and a mirror made from them again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from integration.locks import held
from integration.mirror import Mirror

_LOCK_LIMIT_S = 900.0


def files_of(mirror: Mirror) -> Iterator[tuple[str, Path]]:
    """Yield (name in the mirror, path): every ref, then every object.

    An object is there before a ref names it, so refs that are read first find their objects after. Fetches and
    repacking are held off meanwhile, as they alone replace or remove files of objects; candidates and moves of
    branches go on. Configuration, quarantines and locks are left out: `put_back` makes them. Raises
    GitTimedOut when a fetch goes on for longer than a fetch may.
    """
    with held(mirror.path / "autopack" / "fetch.lock", timeout_s=_LOCK_LIMIT_S):
        for folder in ("refs", "packed-refs", "objects"):
            root = mirror.path / folder
            for path in [root] if root.is_file() else sorted(root.rglob("*")):
                if path.is_file() and not path.name.startswith(("tmp_", ".tmp")) and path.suffix != ".lock":
                    yield path.relative_to(mirror.path).as_posix(), path


def put_back(mirror: Mirror, source: Path) -> None:
    """Make the mirror, which must not be there yet, of the files below `source`, which are moved."""
    mirror.create()
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = mirror.path / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, place)
