"""Faults of the disk under Autopack's own folders, as a typed error that can be counted and tried again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autopack_site.kernel.errors import AutopackError


class StorageFailed(AutopackError):
    """Autopack's own folders can't be read or written now: a full disk, missing rights, a folder that is gone."""

    code, status = "storage-failed", 503
    title = "Autopack's own storage failed"
    retryable = True


@contextmanager
def storage_faults(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into StorageFailed, which says what was being done and names no path."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{doing}: {error.strerror or type(error).__name__}") from error


def set_stub_aside(mirror: Path, staged: Path) -> None:
    """Move what is left of a mirror out of the way: folders that hold nothing but Autopack's own papers.

    It lands beside `staged`, under a name that the next creation removes if this one is killed. The caller holds
    the lock of the creation. Raises StorageFailed for anything with objects, refs or configuration, which is more
    than a stub and is never touched: it may be somebody's work.
    """
    if not os.path.lexists(mirror):
        return
    if (
        not mirror.is_dir()
        or mirror.is_symlink()
        or {entry.name for entry in os.scandir(mirror)} - {"autopack"}
    ):
        raise StorageFailed(f"{mirror.name} is no whole mirror: it has no HEAD, and holds more than a stub")
    aside = staged.with_name(f"{staged.name}.stub")
    mirror.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
