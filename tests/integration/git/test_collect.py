"""What a builder changed comes back as a patch; what a hostile builder planted does nothing."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from integration.collect import CollectLimits, collect
from integration.git_errors import UnknownRevision
from integration.judge import PatchRules
from integration.mirror import Mirror
from integration.patch_errors import (
    GitDirectory,
    PatchRefused,
    PatchTooLarge,
    SuspiciousName,
    UnsupportedFile,
)
from tests.integration.git.conftest import Project, build, contents

ANYTHING = PatchRules(
    allow_binary=True, allow_symlinks=True, allow_gitattributes=True, allow_hooks=True, protected_paths=()
)


@pytest.fixture
def work(tmp_path: Path, mirror: Mirror, base: str) -> Project:
    """A builder's checkout of the base."""
    return Project(mirror.checkout(base, tmp_path / "work", history=2).path)


def test_unchanged_checkout_gives_no_patch(work: Project, mirror: Mirror, base: str) -> None:
    got = collect(mirror, base=base, directory=work.path)
    assert (got.patch, got.paths, got.skipped) == (b"", (), ())


def test_changes_of_every_kind_come_back_as_the_same_tree(work: Project, mirror: Mirror, base: str) -> None:
    before = contents(mirror)
    work.write("src/app.py", b"one\r\ntwo\nno end")
    work.write("src/with space/\u00e9\u4e2d.py", "x\n")
    work.write("data.bin", bytes(range(256)) * 20)
    work.write("empty", b"")
    (work.path / "run.sh").chmod(0o644)
    work.write("tool", "#!/bin/sh\n").chmod(0o700)
    (work.path / "docs/guide.md").unlink()
    (work.path / "docs").rmdir()
    work.write("docs", "a file now\n")
    (work.path / "src/other.py").unlink()
    work.write("src/other.py/inner.py", "a folder now\n")
    os.symlink("../outside", work.path / "link")
    work.write(".gitattributes", "* text eol=crlf filter=evil ident\n")
    got = collect(mirror, base=base, directory=work.path)
    assert contents(mirror) == before
    made = build(mirror, base, got.patch, rules=ANYTHING)
    # The user's plain git, told to convert nothing, is the judge of the tree.
    (work.path / ".git/info/attributes").write_text("* -text -filter -ident\n")
    work.git("add", "-A", "-f")
    assert made.tree == work.git("write-tree")
    assert got.paths == made.paths


def test_commits_of_the_agent_are_squashed_in(work: Project, mirror: Mirror, base: str) -> None:
    work.write("one", "1\n")
    work.commit("agent one")
    work.git("checkout", "-q", "-b", "elsewhere")
    work.write("two", "2\n")
    work.commit("agent two")
    (work.path / "one").unlink()
    got = collect(mirror, base=base, directory=work.path)
    assert got.paths == ("two",)
    assert mirror.commit_info(build(mirror, base, got.patch).sha).parents == (base,)


def test_checkout_without_a_git_folder_or_with_a_broken_one_is_collected_too(
    work: Project, mirror: Mirror, base: str
) -> None:
    work.write("one", "1\n")
    for breakage in ("gitdir: /etc", "\0garbage"):
        os.rename(work.path / ".git", work.path.parent / f"away{len(breakage)}")
        (work.path / ".git").write_text(breakage)
        assert collect(mirror, base=base, directory=work.path).paths == ("one",)


def test_what_the_agent_planted_runs_nothing(work: Project, mirror: Mirror, base: str) -> None:
    mark = work.path.parent / "ran"
    hooks = work.path / ".git" / "hooks"
    for name in ("pre-commit", "post-index-change", "post-checkout", "fsmonitor-watchman"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    (work.path / ".git" / "config").write_text(
        f"[core]\n\tfsmonitor = touch {mark};\n\thooksPath = {hooks}\n\tworktree = /\n"
        f'[filter "evil"]\n\tclean = touch {mark}\n\tsmudge = touch {mark}\n\trequired = true\n'
        f'[diff "evil"]\n\tcommand = touch {mark}\n\ttextconv = touch {mark}\n'
    )
    work.write(".gitattributes", "* filter=evil diff=evil\n")
    work.write("src/app.py", "changed\n")
    got = collect(mirror, base=base, directory=work.path)
    assert got.paths == (".gitattributes", "src/app.py")
    assert b"+changed" in got.patch
    assert not mark.exists()


def test_the_bases_own_rules_say_what_is_ignored(work: Project, mirror: Mirror, base: str) -> None:
    work.write("build/out.o", "x")
    work.write("src/build/deep/out.o", "x")
    work.write("x.log", "x")
    work.write("src/keep.log", "kept\n")
    work.write("src/__pycache__/app.cpython-311.pyc", b"\0")
    work.write(".pytest_cache/v/x", "x")
    work.write("node_modules/a/b.js", "x")
    work.write("src/fresh.py", "x\n")
    # An agent's new rules can't hide or show anything in this patch.
    work.write(".gitignore", "src/\n")
    work.write("docs/.gitignore", "*\n")
    work.write("docs/new.md", "x\n")
    got = collect(mirror, base=base, directory=work.path)
    assert got.paths == (".gitignore", "docs/.gitignore", "docs/new.md", "src/fresh.py", "src/keep.log")


def test_tracked_file_counts_though_a_rule_names_it(project: Project, tmp_path: Path, mirror: Mirror) -> None:
    project.write("build/tracked.txt", "old\n")
    project.write("nested/.gitignore", "*.tmp\n")
    project.commit()
    base = mirror.fetch(project.path, "main")
    work = Project(mirror.checkout(base, tmp_path / "work").path)
    work.write("build/tracked.txt", "new\n")
    work.write("build/untracked.txt", "x\n")
    work.write("nested/a.tmp", "x\n")
    assert collect(mirror, base=base, directory=work.path).paths == ("build/tracked.txt",)


def test_nested_repository_comes_as_files_and_never_as_a_submodule(
    work: Project, mirror: Mirror, base: str
) -> None:
    nested = Project(work.path / "vendor")
    nested.path.mkdir()
    nested.git("init", "-q")
    nested.write("lib.py", "x\n")
    nested.commit()
    got = collect(mirror, base=base, directory=work.path)
    assert got.paths == ("vendor/lib.py",)
    assert b"160000" not in got.patch


def test_links_are_never_followed(work: Project, mirror: Mirror, base: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "app.py").write_text("TOP SECRET\n")
    (secret / "key").write_text("TOP SECRET\n")
    for path in sorted((work.path / "src").iterdir()):
        path.unlink()
    (work.path / "src").rmdir()
    os.symlink(secret, work.path / "src")
    os.symlink(secret / "key", work.path / "key")
    got = collect(mirror, base=base, directory=work.path)
    assert b"TOP SECRET" not in got.patch
    assert got.paths == ("key", "src", "src/app.py", "src/other.py")
    with pytest.raises(PatchRefused) as refusal:
        build(mirror, base, got.patch)
    assert refusal.value.code == "symlink-change"
    os.symlink(work.path, tmp_path / "indirect")
    with pytest.raises(UnsupportedFile):
        collect(mirror, base=base, directory=tmp_path / "indirect")


def test_pipes_sockets_and_devices_neither_block_nor_pass(work: Project, mirror: Mirror, base: str) -> None:
    os.mkfifo(work.path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(work.path)  # a socket's path is short
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
        listener.close()
    got = collect(mirror, base=base, directory=work.path)
    assert (got.paths, sorted(got.skipped)) == ((), ["pipe", "socket"])
    (work.path / "README.md").unlink()
    os.mkfifo(work.path / "README.md")
    with pytest.raises(UnsupportedFile):
        collect(mirror, base=base, directory=work.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="making another user's file takes root")
def test_hard_link_to_another_users_file_is_not_read(
    work: Project, mirror: Mirror, base: str, tmp_path: Path
) -> None:
    for path in [work.path, *work.path.rglob("*")]:
        os.lchown(path, 4321, 4321)
    (tmp_path / "secret").write_text("TOP SECRET\n")
    os.link(tmp_path / "secret", work.path / "mine.txt")
    with pytest.raises(UnsupportedFile):
        collect(mirror, base=base, directory=work.path)


@pytest.mark.parametrize("name", [".GIT/config", "src/.Git/x", "git~1", ".g\u200cit/x"])
def test_name_that_reads_as_git_is_refused(name: str, work: Project, mirror: Mirror, base: str) -> None:
    work.write(name, "x\n")
    with pytest.raises(GitDirectory):
        collect(mirror, base=base, directory=work.path)


def test_name_that_is_no_text_is_refused_and_odd_ones_are_carried(
    work: Project, mirror: Mirror, base: str
) -> None:
    for name in (":(glob)*", "a*b", "-rf", "new\nline", "tab\there", '"quoted"', "back\\slash", " space "):
        work.write(name, "x\n")
    got = collect(mirror, base=base, directory=work.path)
    assert len(got.paths) == 8
    with pytest.raises(PatchRefused) as refusal:
        build(mirror, base, got.patch)
    assert refusal.value.code == "suspicious-name"
    (work.path / os.fsdecode(b"bad\xff")).write_text("x")
    with pytest.raises(SuspiciousName):
        collect(mirror, base=base, directory=work.path)


def test_folder_where_the_base_has_its_rules_is_no_obstacle(work: Project, mirror: Mirror, base: str) -> None:
    (work.path / ".gitignore").unlink()
    work.write(".gitignore/x", "x\n")
    work.write("y.log", "x\n")
    assert collect(mirror, base=base, directory=work.path).paths == (".gitignore", ".gitignore/x")


@pytest.mark.parametrize(
    "limits",
    [
        CollectLimits(max_file_bytes=100),
        CollectLimits(max_changed=2),
        CollectLimits(max_entries=5),
        CollectLimits(max_total_bytes=100),
        CollectLimits(max_patch_bytes=100),
        CollectLimits(max_depth=2),
    ],
)
def test_each_limit_is_kept(limits: CollectLimits, work: Project, mirror: Mirror, base: str) -> None:
    before = contents(mirror)
    work.write("large", b"x" * 200)
    work.write("a/b/c/d", "x\n")
    work.write("more", "x\n")
    with pytest.raises(PatchTooLarge):
        collect(mirror, base=base, directory=work.path, limits=limits)
    assert contents(mirror) == before


def test_huge_sparse_file_takes_no_memory_and_is_refused(work: Project, mirror: Mirror, base: str) -> None:
    with (work.path / "README.md").open("wb") as handle:
        handle.truncate(1 << 40)
    with pytest.raises(PatchTooLarge):
        collect(mirror, base=base, directory=work.path)


def test_large_tracked_file_that_did_not_change_is_fine(
    project: Project, tmp_path: Path, mirror: Mirror
) -> None:
    project.write("large", os.urandom(5000))
    project.commit()
    base = mirror.fetch(project.path, "main")
    work = Project(mirror.checkout(base, tmp_path / "work").path)
    limits = CollectLimits(max_file_bytes=1000)
    assert collect(mirror, base=base, directory=work.path, limits=limits).paths == ()
    with (work.path / "large").open("r+b") as handle:
        handle.write(b"changed")
    with pytest.raises(PatchTooLarge):
        collect(mirror, base=base, directory=work.path, limits=limits)


def test_submodule_of_the_base_stays_as_it_is(project: Project, tmp_path: Path, mirror: Mirror) -> None:
    project.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    project.git("commit", "-qm", "submodule")
    base = mirror.fetch(project.path, "main")
    work = Project(mirror.checkout(base, tmp_path / "work").path)
    assert (work.path / "lib").is_dir()
    work.write("lib/inside", "x\n")
    work.write("x", "x\n")
    got = collect(mirror, base=base, directory=work.path)
    assert got.paths == ("x",)
    assert build(mirror, base, got.patch).paths == ("x",)


def test_set_id_bits_never_reach_the_patch(work: Project, mirror: Mirror, base: str) -> None:
    path = work.write("tool", "x\n")
    path.chmod(stat.S_ISUID | stat.S_ISGID | 0o755)
    assert b"new file mode 100755" in collect(mirror, base=base, directory=work.path).patch


def test_unknown_base_is_told(work: Project, mirror: Mirror) -> None:
    with pytest.raises(UnknownRevision):
        collect(mirror, base="1" * 40, directory=work.path)
