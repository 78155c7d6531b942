"""Trees are handed over, taken back and deleted without leading outside of themselves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from integration.sandbox.errors import SandboxMisuse, TreeTooDeep
from integration.sandbox.ownership import hand_over, reclaim, remove_tree

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
UID = 231_999


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "precious").write_text("precious")
    return path


@pytest.fixture
def tree(tmp_path: Path, outside: Path) -> Path:
    path = tmp_path / "tree"
    (path / "folder" / "deeper").mkdir(parents=True)
    (path / "folder" / "file").write_text("content")
    (path / "folder" / "script").write_text("#!/bin/sh\n")
    (path / "folder" / "script").chmod(0o755)
    (path / "to_folder").symlink_to(outside)
    (path / "to_file").symlink_to(outside / "precious")
    (path / "dangling").symlink_to("nowhere")
    return path


def owners(path: Path) -> set[int]:
    found = {path.lstat().st_uid}
    for folder, folders, files in os.walk(path):
        found |= {os.lstat(os.path.join(folder, name)).st_uid for name in folders + files}
    return found


@ROOT_ONLY
def test_the_whole_tree_and_nothing_else_is_handed_over(tree: Path, outside: Path) -> None:
    hand_over(tree, UID)
    assert owners(tree) == {UID}
    assert owners(outside) == {0}
    assert (tree / "folder" / "script").stat().st_mode & 0o777 == 0o755


@ROOT_ONLY
def test_a_hard_link_into_a_store_is_copied_before_it_is_given_away(tree: Path, outside: Path) -> None:
    os.link(outside / "precious", tree / "folder" / "linked")
    (outside / "precious").chmod(0o444)
    hand_over(tree, UID)
    assert (outside / "precious").stat().st_uid == 0
    assert (outside / "precious").stat().st_nlink == 1
    copy = tree / "folder" / "linked"
    assert (copy.stat().st_uid, copy.stat().st_mode & 0o777, copy.read_text()) == (UID, 0o444, "precious")


@ROOT_ONLY
def test_a_tree_is_taken_back_but_for_what_is_not_the_attempts(tree: Path, outside: Path) -> None:
    hand_over(tree, UID)
    os.link(outside / "precious", tree / "linked")
    (tree / "strange").write_text("another's")
    os.chown(tree / "strange", UID + 1, UID + 1)
    (tree / "folder" / "script").chmod(0o6755)
    reclaim(tree, UID)
    assert owners(tree) == {0, UID + 1}
    assert (tree / "folder" / "script").stat().st_mode & 0o7777 == 0o755
    assert (outside / "precious").stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may always read")
def test_closed_files_and_folders_become_readable_to_an_ordinary_user(tree: Path) -> None:
    (tree / "folder" / "file").chmod(0)
    (tree / "folder" / "deeper").chmod(0)
    (tree / "folder").chmod(0)
    reclaim(tree)
    assert (tree / "folder" / "file").read_text() == "content"
    assert os.listdir(tree / "folder" / "deeper") == []
    assert (tree / "folder" / "script").stat().st_mode & 0o777 == 0o755
    assert (tree / "folder" / "file").stat().st_mode & 0o111 == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="about ordinary users")
def test_an_ordinary_user_can_only_keep_a_tree(tree: Path) -> None:
    hand_over(tree, os.geteuid())
    with pytest.raises(SandboxMisuse):
        hand_over(tree, os.geteuid() + 1)


def test_a_removed_tree_takes_nothing_else_along(tree: Path, outside: Path) -> None:
    (tree / "folder" / "deeper").chmod(0)
    (tree / "folder").chmod(0o500)
    os.mkfifo(tree / "fifo")
    remove_tree(tree)
    remove_tree(tree)
    assert not os.path.lexists(tree)
    assert (outside / "precious").read_text() == "precious"


def test_a_link_in_the_trees_place_is_removed_itself(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "tree").symlink_to(outside)
    remove_tree(tmp_path / "tree")
    assert not os.path.lexists(tmp_path / "tree")
    assert (outside / "precious").exists()


def make_deep(top: Path, depth: int) -> None:
    handle = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def test_a_tree_deeper_than_any_path_or_stack_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    make_deep(tmp_path / "tree", 6000)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TreeTooDeep):
        reclaim(tmp_path / "tree", UID if os.geteuid() == 0 else None)
    assert len(os.listdir("/proc/self/fd")) == before
    remove_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == []


def test_names_like_our_own_temporary_ones_do_no_harm(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in (".autopack-doomed-1", f".autopack-copy-{os.getpid()}", "-rf", "new\nline", "ü" * 100):
        (tree / name / "inner").mkdir(parents=True)
        (tree / name / "inner" / "file").write_text("x")
    remove_tree(tree)
    assert os.listdir(tmp_path) == []


def test_a_relative_or_top_level_path_is_refused() -> None:
    for path in (Path("relative"), Path("/"), Path("/tmp"), Path("/tmp/../etc")):
        with pytest.raises(SandboxMisuse):
            remove_tree(path)
        if os.geteuid() == 0:
            with pytest.raises(SandboxMisuse):
                hand_over(path, UID)
    assert stat.S_ISDIR(os.stat("/tmp").st_mode)
