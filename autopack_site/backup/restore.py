"""The way back: an empty system, or one that is given up on purpose, becomes what a backup holds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from autopack_site.backup import archive, postgres
from autopack_site.backup.errors import BackupUnsound, RestoreFailed, RestoreRefused
from autopack_site.kernel.errors import AutopackError
from integration import alignment
from integration.artefacts import service as artefacts
from integration.mirror_copy import put_back
from integration.repository import mirror_of
from runs.models import Run
from strategy.models import Project


@dataclass
class Report:
    """What came back. `ahead` are refs of live runs that a person has to take back, or their runs fail."""

    manifest: dict[str, Any]
    projects: int = 0
    runs: int = 0
    live_runs: int = 0
    refs_aligned: int = 0
    ahead: list[alignment.Ahead] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)


def restore(path: Path, *, replace: bool = False) -> Report:
    """Make this system what the backup holds. Nothing of Autopack may run meanwhile.

    Raises BackupUnsound and RestoreRefused with nothing changed: for a file that is not whole or of a newer
    Autopack, while other programs use the database, and for a system that has something in it, unless
    `replace` gives that up. RestoreFailed past that point; running it again with `replace` is safe.
    """
    manifest = archive.check(path)
    _refuse(manifest, replace=replace)
    state, runs = Path(settings.STATE_DIR), Path(settings.RUNS_DIR)
    state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="restore-", dir=state) as folder:
        staged = Path(folder)
        archive.extract(path, staged)
        postgres.load(staged / archive.DATABASE)
        call_command("migrate", interactive=False, verbosity=0)
        for old in (state / "mirrors", state / "logs", state / "work"):
            shutil.rmtree(old, ignore_errors=True)
        if (staged / "logs").is_dir():
            (staged / "logs").rename(state / "logs")
        for old in runs.iterdir() if runs.is_dir() else ():
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        report = Report(manifest)
        for project in Project.objects.order_by("project_id"):
            _bring_back(project, staged / "mirrors" / f"{project.project_id}.git", report)
        artefacts.rebuild()
    report.runs, report.live_runs = Run.objects.count(), Run.objects.filter(completed_at=None).count()
    return report


def _bring_back(project: Project, copy: Path, report: Report) -> None:
    report.projects += 1
    has_begun = copy.is_dir()  # a run of it
    if has_begun:
        put_back(mirror_of(project), copy)
        report.refs_aligned += alignment.align(project)
    lacking = alignment.missing(project)
    if lacking:
        raise RestoreFailed(
            f"The mirror of {project.project_id} lacks {len(lacking)} commits: {lacking[0]} ..."
        )
    if not has_begun:
        return
    try:
        report.ahead += alignment.ahead(project)
    except (AutopackError, OSError) as error:
        report.not_looked_at.append(f"{project.project_id}: {error}")


def _refuse(manifest: dict[str, Any], *, replace: bool) -> None:
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    newer = sorted(set(manifest.get("migrations", ())) - known)
    if newer:
        raise BackupUnsound(
            f"It was made by Autopack {manifest.get('autopack')}, which is newer than this one: it has {newer[0]}"
        )
    sessions = postgres.other_sessions()
    if sessions:
        raise RestoreRefused(f"{sessions} other programs use the database: stop web, workers and beat first")
    if not postgres.is_usable():
        raise RestoreRefused("There is no pg_restore of the server's version: install the PostgreSQL client")
    held = list(_held())
    if held and not replace:
        raise RestoreRefused(
            f"This system is not empty: it has {', '.join(held)}. Restore into an empty one, or give --replace, "
            "which deletes all of it"
        )


def _held() -> Iterator[str]:
    """Yield what this system has that a restore would overwrite. The first accounts alone are nothing."""
    if "strategy_project" in connection.introspection.table_names() and _count("strategy_project"):
        yield "projects in the database"
    state = Path(settings.STATE_DIR)
    for name, folder in (
        ("mirrors", state / "mirrors"),
        ("logs", state / "logs"),
        ("files", settings.RUNS_DIR),
    ):
        if Path(folder).is_dir() and any(not path.name.startswith(".") for path in Path(folder).iterdir()):
            yield f"{name} in {folder}"


def _count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")  # noqa: S608 (a name of ours)
        row = cursor.fetchone()
    return int(row[0]) if row else 0
