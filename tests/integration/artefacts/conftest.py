"""The artefacts' own root and logs, in a folder that goes away."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path, settings, transactional_db: None) -> Path:
    """Where artefacts are written. Snapshots need real transactions."""
    settings.RUNS_DIR = tmp_path / "runs"
    settings.STATE_DIR = tmp_path / "state"
    return tmp_path / "runs"


def contents(root: Path) -> dict[str, bytes]:
    """Every file below root but the locks, by its path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".")
    }
