"""Where things lie on disk: a project's mirror, checkouts, logs. Names come from validated ids only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings

from autopack_site.kernel.ids import new_id
from integration.git_errors import GitFailed
from integration.locks import locked_folder, try_lock
from integration.mirror import Mirror
from integration.quarantine import sweep
from integration.sandbox.errors import TreeNotRemoved
from integration.sandbox.ownership import remove_tree
from strategy.models import Project

log = structlog.get_logger(__name__)


def mirror_of(project: Project) -> Mirror:
    """Return the project's mirror: Autopack's own bare repository, which no agent can write."""
    return Mirror(settings.STATE_DIR / "mirrors" / f"{project.project_id}.git")


def log_path(run_id: str, name: str) -> Path:
    """Return where a log of the run lies."""
    return Path(settings.STATE_DIR) / "logs" / run_id / f"{name}.log"


@dataclass(frozen=True)
class Work:
    """A private folder for one checkout and its papers. `lock` is held as long as anything works in it."""

    path: Path
    lock: int


@contextmanager
def work_folder(kind: str) -> Iterator[Work]:
    """Give a fresh private folder and remove it whatever was left in it.

    Its lock ends with its last holder: this process, or the sandbox of a command that a killed worker left.
    """
    root = _work_root()
    root.mkdir(parents=True, mode=0o700, exist_ok=True)
    folder, lock = locked_folder(lambda: _make(root / f"{kind}-{new_id()}"))
    try:
        yield Work(folder, lock)
    finally:
        try:
            remove_tree(folder)
        finally:
            os.close(lock)


def sweep_work() -> int:
    """Remove the folders that killed workers left, once nothing works in them; return how many."""
    removed = 0
    root = _work_root()
    for folder in list(root.iterdir()) if root.is_dir() else []:
        with suppress(FileNotFoundError, NotADirectoryError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if try_lock(lock):
                    remove_tree(folder)
                    removed += 1
            except TreeNotRemoved as error:
                log.warning("work.not_removed", folder=folder.name, reason=error.detail)
            finally:
                os.close(lock)
    return removed


def sweep_mirrors() -> int:
    """Remove the quarantines that killed processes left in any mirror; return how many."""
    return sum(sweep(path) for path in _mirrors())


def pack_mirrors() -> int:
    """Pack the mirrors in which loose objects have become many; return how many were packed.

    One that is being fetched into is left for the next time; a fault of one doesn't keep the others from it.
    """
    packed = 0
    for path in _mirrors():
        mirror = Mirror(path)
        if not mirror.is_cluttered():
            continue
        try:
            mirror.pack(wait_s=0)
            packed += 1
            log.info("mirror.packed", project_id=path.stem)
        except GitFailed as error:
            log.warning("mirror.not_packed", project_id=path.stem, reason=error.detail)
    return packed


def _mirrors() -> list[Path]:
    root = Path(settings.STATE_DIR) / "mirrors"
    return sorted(path for path in root.iterdir() if path.suffix == ".git") if root.is_dir() else []


def _work_root() -> Path:
    return Path(settings.STATE_DIR) / "work"


def _make(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder
