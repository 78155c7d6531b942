"""A mirror that is gone, or of which a part is left: never completed by half, never taken for one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from integration.mirror import Mirror
from integration.storage import StorageFailed
from tests.integration.git.conftest import Project


def test_a_quarantine_never_brings_back_a_part_of_a_mirror_that_is_gone(mirror: Mirror) -> None:
    shutil.rmtree(mirror.path)
    with pytest.raises(FileNotFoundError), mirror.quarantine():
        pass
    assert not mirror.path.exists()


def test_a_stub_of_a_mirror_makes_way_for_a_whole_one(mirror: Mirror, project: Project) -> None:
    shutil.rmtree(mirror.path)
    (mirror.path / "autopack" / "quarantine" / "tmp1").mkdir(parents=True)
    assert mirror.create()
    assert mirror.fetch(project.path, "main") == project.git("rev-parse", "main")
    assert not (mirror.path / "autopack" / "quarantine" / "tmp1").exists()
    assert [path.name for path in mirror.path.parent.iterdir() if path.is_dir()] == [mirror.path.name]


@pytest.mark.parametrize("kept", ["objects/pack/pack-1.pack", "refs/heads/x", "config", "notes.txt"])
def test_what_is_more_than_a_stub_is_refused_and_left_as_it_is(tmp_path: Path, kept: str) -> None:
    mirror = Mirror(tmp_path / "mirrors" / "project.git")
    found = mirror.path / kept
    found.parent.mkdir(parents=True)
    found.write_text("somebody's work")
    with pytest.raises(StorageFailed) as refusal:
        mirror.create()
    assert found.read_text() == "somebody's work"
    assert str(tmp_path) not in refusal.value.detail
    assert [path.name for path in mirror.path.parent.iterdir() if path.is_dir()] == [mirror.path.name]
