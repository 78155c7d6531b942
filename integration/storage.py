"""Faults of the disk under Autopack's own folders, as a typed error that can be counted and tried again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
