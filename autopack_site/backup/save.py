"""Making a backup: the database first, then what it names (the package says why)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from autopack_site.backup import archive, postgres
from autopack_site.backup.errors import BackupFailed
from autopack_site.kernel import clock
from integration.mirror import Mirror
from integration.mirror_copy import files_of


def save(place: Path) -> Path:
    """Write a backup to the file `place`, or into the folder `place` under a name of its own; return the file.

    Runs may go on meanwhile. Raises BackupFailed; then nothing is left of it.
    """
    target = place / f"autopack-{clock.now():%Y%m%d-%H%M%S}.tar" if place.is_dir() else place
    if target.exists():
        raise BackupFailed(f"{target} exists already: a backup is never written over")
    if not target.parent.is_dir():
        raise BackupFailed(f"{target.parent} is no folder")
    try:
        with archive.Writer(target) as writer:
            facts = _facts()
            with tempfile.TemporaryDirectory(prefix=".autopack-dump-", dir=target.parent) as folder:
                dumped = Path(folder) / archive.DATABASE
                postgres.dump(dumped)
                writer.add(archive.DATABASE, dumped)
            for path in sorted((Path(settings.STATE_DIR) / "mirrors").glob("*.git")):
                for name, source in files_of(Mirror(path)):
                    writer.add(f"mirrors/{path.name}/{name}", source)
            logs = Path(settings.STATE_DIR) / "logs"
            for source in _files(logs):
                writer.add(f"logs/{source.relative_to(logs).as_posix()}", source)
            writer.finish(facts)
    except OSError as error:
        raise BackupFailed(f"{error.strerror}: {error.filename or target}") from error
    return target


def _facts() -> dict[str, Any]:
    applied = MigrationRecorder(connection).applied_migrations()
    version = postgres.server_version()
    return {
        "autopack": settings.VERSION,
        "created_at": clock.now().isoformat(),
        "postgresql": f"{version // 10000}.{version % 10000}",
        "migrations": sorted(f"{app}.{name}" for app, name in applied),
    }


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder, links left out; folders may come and go meanwhile."""
    for root, _folders, names in os.walk(folder):
        yield from (Path(root) / name for name in sorted(names))
