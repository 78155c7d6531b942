"""Files are replaced whole or not at all, below the root alone."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.artefacts.errors import ArtefactsUnwritable
from integration.artefacts.writer import Parts, Tree

PLACE = ("r1", "tiers", "t.md")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "runs")


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Make every longer write of this process fail, as on a full disk (EFBIG stands for ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_only_what_differs_is_written(tree: Tree) -> None:
    other = ("r1", "summary.md")
    assert tree.write({PLACE: b"one", other: b"two"}) == [other, PLACE]
    assert tree.write({PLACE: b"one", other: b"new"}) == [other]
    assert (tree.root / "r1" / "summary.md").read_bytes() == b"new"


def test_what_is_made_in_parts_is_made_once_and_written_where_it_differs(tree: Tree) -> None:
    made: list[bytes] = []

    def parts(*texts: bytes) -> Parts:
        def make() -> Iterator[bytes]:
            for text in texts:
                made.append(text)
                yield text

        return make

    assert tree.write({PLACE: parts(b"on", b"e")}) == [PLACE]
    assert tree.write({PLACE: parts(b"o", b"ne")}) == []
    assert tree.differing({PLACE: parts(b"o", b"n", b"e")}) == []
    assert tree.differing({PLACE: parts(b"on")}) == tree.differing({PLACE: parts(b"one", b"!")}) == [PLACE]
    assert tree.write({PLACE: parts(b"one", b"!")}) == [PLACE]
    assert made[:4] == [b"on", b"e", b"o", b"ne"]
    assert [path.name for path in (tree.root / "r1" / "tiers").iterdir()] == ["t.md"]
    assert (tree.root / "r1" / "tiers" / "t.md").read_bytes() == b"one!"


def test_parts_that_break_off_leave_the_old_file_and_nothing_else(tree: Tree) -> None:
    def broken() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError("the database went away")

    tree.write({PLACE: b"old"})
    with pytest.raises(RuntimeError, match="went away"):
        tree.write({PLACE: broken})
    assert [path.name for path in (tree.root / "r1" / "tiers").iterdir()] == ["t.md"]
    assert (tree.root / "r1" / "tiers" / "t.md").read_bytes() == b"old"


def test_files_and_folders_are_closed_to_strangers(tree: Tree) -> None:
    tree.write({PLACE: b"one"})
    for path, mode in ((tree.root / "r1" / "tiers" / "t.md", 0o640), (tree.root / "r1" / "tiers", 0o750)):
        assert stat.S_IMODE(path.stat().st_mode) & ~mode == 0


def test_a_write_that_fails_half_way_leaves_the_old_file_whole(tree: Tree) -> None:
    tree.write({PLACE: b"old"})
    with files_of_at_most(4096), pytest.raises(ArtefactsUnwritable) as refusal:
        tree.write({PLACE: b"x" * 8192})
    assert refusal.value.retryable
    assert (tree.root / "r1" / "tiers" / "t.md").read_bytes() == b"old"
    assert os.listdir(tree.root / "r1" / "tiers") == ["t.md"]
    assert tree.write({PLACE: b"x" * 8192}) == [PLACE]


def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_untouched(
    tree: Tree, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tree.root / "r1" / "tiers").mkdir(parents=True)
    target = tree.root / "r1" / "tiers" / "t.md"
    target.symlink_to(outside)
    assert tree.write({PLACE: b"precious"}) == [PLACE]  # equal bytes behind the link are no excuse
    assert not target.is_symlink()
    assert outside.read_bytes() == b"precious"


def test_a_link_in_the_place_of_a_folder_is_removed_and_never_entered(tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree.root / "r1").mkdir(parents=True)
    (tree.root / "r1" / "tiers").symlink_to(outside)
    assert tree.differing({PLACE: b"one"}) == [PLACE]
    assert tree.strays(("r1", "tiers"), set()) == []
    tree.write({PLACE: b"one"})
    assert os.listdir(outside) == []
    assert (tree.root / "r1" / "tiers" / "t.md").read_bytes() == b"one"


def test_a_link_in_the_place_of_the_temporary_file_is_not_written_through(tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (tree.root / "r1" / "tiers").mkdir(parents=True)
    (tree.root / "r1" / "tiers" / ".t.md.new").symlink_to(outside)
    tree.write({PLACE: b"one"})
    assert outside.read_bytes() == b"precious"
    assert os.listdir(tree.root / "r1" / "tiers") == ["t.md"]


def test_a_pipe_in_the_place_neither_hangs_nor_stays(tree: Tree) -> None:
    (tree.root / "r1" / "tiers").mkdir(parents=True)
    os.mkfifo(tree.root / "r1" / "tiers" / "t.md")
    assert tree.write({PLACE: b"one"}) == [PLACE]
    assert (tree.root / "r1" / "tiers" / "t.md").is_file()


def test_a_folder_in_the_place_of_a_file_is_refused_and_kept(tree: Tree) -> None:
    (tree.root / "r1" / "tiers" / "t.md" / "inside").mkdir(parents=True)
    with pytest.raises(ArtefactsUnwritable):
        tree.write({PLACE: b"one"})
    assert (tree.root / "r1" / "tiers" / "t.md" / "inside").is_dir()
    assert os.listdir(tree.root / "r1" / "tiers") == ["t.md"]


def test_removing_follows_no_link(tree: Tree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "file").write_bytes(b"precious")
    old = tree.root / "r1" / "tiers" / "old"
    old.mkdir(parents=True)
    (old / "link").symlink_to(outside)
    (old / "deep").mkdir()
    (old / "deep" / "file").write_bytes(b"gone")
    tree.remove([("r1", "tiers", "old"), ("r1", "tiers", "never-there")])
    assert not old.exists()
    assert (outside / "deep" / "file").read_bytes() == b"precious"


def test_strays_are_what_lies_there_unexpected(tree: Tree) -> None:
    tree.write({PLACE: b"one", ("r1", "tiers", "u.md"): b"two", ("r1", "tiers", "below", "v.md"): b"three"})
    expected = {PLACE, ("r1", "tiers", "below", "v.md")}
    assert tree.strays(("r1", "tiers"), expected) == [("r1", "tiers", "u.md")]
    assert tree.strays(("r2", "tiers"), expected) == []
