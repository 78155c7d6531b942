"""Where things lie on disk: a project's mirror, checkouts, logs. Names come from validated ids only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from autopack_site.kernel.ids import new_id
from integration.mirror import Mirror
from integration.sandbox.ownership import remove_tree
from strategy.models import Project


def mirror_of(project: Project) -> Mirror:
    """Return the project's mirror: Autopack's own bare repository, which no agent can write."""
    return Mirror(settings.STATE_DIR / "mirrors" / f"{project.project_id}.git")


def log_path(run_id: str, name: str) -> Path:
    """Return where a log of the run lies."""
    return Path(settings.STATE_DIR) / "logs" / run_id / f"{name}.log"


@contextmanager
def work_folder(kind: str) -> Iterator[Path]:
    """Give a fresh private folder for one checkout and its papers, and remove it whatever was left in it."""
    folder = Path(settings.STATE_DIR) / "work" / f"{kind}-{new_id()}"
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        remove_tree(folder)
