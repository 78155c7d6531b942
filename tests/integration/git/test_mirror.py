"""The mirror: only Autopack's refs are written, the user's repository and checkout stay as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from integration.git_errors import (
    GitFailed,
    ProtectedBranch,
    PushRejected,
    RefMoved,
    SourceRefused,
    SourceUnavailable,
    SourceUnsound,
    UnknownRevision,
)
from integration.mirror import Mirror
from integration.refs import branch_ref, candidate_ref, pushable, tag_ref
from integration.sources import Source, redacted
from tests.integration.git.conftest import Project, build, new_file


def state(project: Project) -> tuple[object, ...]:
    """Return what a user would notice: files with their times, index, HEAD, status."""
    status = project.git("--no-optional-locks", "status", "--short")
    files = [
        (str(path), path.lstat().st_mtime_ns, path.lstat().st_mode)
        for path in sorted(project.path.rglob("*"))
        if ".git" not in path.relative_to(project.path).parts
    ]
    inner = project.path / ".git"
    return (
        files,
        (inner / "index").read_bytes(),
        (inner / "HEAD").read_text(),
        status,
    )


def test_fetch_takes_over_the_branch_and_follows_it(project: Project, mirror: Mirror, base: str) -> None:
    assert mirror.resolve("refs/remotes/project/main") == base
    project.write("x", "x\n")
    moved = project.commit()
    assert mirror.fetch(project.path, "main") == moved
    assert mirror.is_ancestor(base, moved)
    assert not mirror.is_ancestor(moved, base)
    project.git("reset", "-q", "--hard", base)
    assert mirror.fetch(f"file://{project.path}", "main") == base
    assert mirror.read_ref("refs/remotes/project/main") == base


def test_fetch_tells_what_is_wrong(tmp_path: Path, project: Project, mirror: Mirror) -> None:
    with pytest.raises(UnknownRevision):
        mirror.fetch(project.path, "absent")
    with pytest.raises(SourceUnavailable):
        mirror.fetch(tmp_path / "nowhere", "main")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnavailable):
        mirror.fetch(tmp_path / "empty", "main")
    with pytest.raises(ProtectedBranch):
        mirror.fetch(project.path, "../../heads/main")


@pytest.mark.parametrize(
    "address",
    ["ext::sh -c touch% /tmp/x", "http://host/x", "git://host/x", "--upload-pack=touch x", "fd::17",
     "relative/x", "file://host/x", "user@-oProxyCommand=x:y", "ssh://-oProxyCommand=x/y",
     "https://ho st/x", "/a\nb", ""],
)  # fmt: skip
def test_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(SourceRefused):
        Source.of(address)


def test_password_is_never_shown() -> None:
    source = Source.of("https://me:secret@host.example/x.git")
    assert source.shown == "https://host.example/x.git"
    assert "secret" not in redacted("fatal: https://me:secret@host/x: denied")


def test_unsound_objects_are_not_taken_over(project: Project, mirror: Mirror) -> None:
    before = mirror.refs("refs")
    blob = project.raw("hash-object", "-w", "--stdin", input=b"x").decode().strip()
    tree = project.raw("mktree", input=f"100644 blob {blob}\t.git\n".encode()).decode().strip()
    commit = project.git("commit-tree", tree, "-m", "evil")
    project.git("update-ref", "refs/heads/evil", commit)
    with pytest.raises(SourceUnsound):
        mirror.fetch(project.path, "evil")
    assert mirror.refs("refs") == before
    with pytest.raises(UnknownRevision):
        mirror.resolve(commit)


def test_hooks_and_configuration_of_the_project_run_nothing(
    project: Project, mirror: Mirror, base: str
) -> None:
    mark = project.path.parent / "ran"
    hooks = project.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in (
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "reference-transaction",
        "proc-receive",
    ):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    for key, value in (
        ("core.fsmonitor", f"touch {mark}"),
        ("core.alternateRefsCommand", f"touch {mark}"),
        ("uploadpack.packObjectsHook", f"touch {mark}"),
        ("receive.denyCurrentBranch", "updateInstead"),
        ("core.hooksPath", str(hooks)),
    ):
        project.git("config", key, value)
    assert mirror.fetch(project.path, "main") == base
    made = build(mirror, base, new_file("x"))
    mirror.push(project.path, [(made.sha, branch_ref("run1"))])
    assert project.git("rev-parse", "autonomous/run1") == made.sha
    assert not mark.exists()


def test_push_brings_branch_and_tag_without_disturbing_the_checkout(
    project: Project, mirror: Mirror, base: str
) -> None:
    project.write("README.md", "unsaved work\n")
    project.write("untracked", "mine\n")
    before = state(project)
    made = build(mirror, base, new_file("x"))
    wanted = [(made.sha, branch_ref("run1")), (made.sha, tag_ref("run1", "p1"))]
    assert set(mirror.push(project.path, wanted)) == {branch_ref("run1"), tag_ref("run1", "p1")}
    assert project.git("rev-parse", "refs/heads/autonomous/run1") == made.sha
    assert project.git("rev-parse", "refs/tags/autopack/run1/p1") == made.sha
    assert project.git("rev-parse", "main") == base
    assert state(project) == before
    assert mirror.push(project.path, wanted) == ()


def test_push_is_fast_forward_only_and_all_or_nothing(project: Project, mirror: Mirror, base: str) -> None:
    one = build(mirror, base, new_file("one"))
    two = build(mirror, base, new_file("two"))
    mirror.push(project.path, [(one.sha, branch_ref("run1")), (one.sha, tag_ref("run1", "p1"))])
    for refs in (
        [(two.sha, branch_ref("run1")), (two.sha, branch_ref("run2"))],
        [(two.sha, tag_ref("run1", "p1")), (two.sha, branch_ref("run2"))],
        [(base, branch_ref("run1")), (two.sha, branch_ref("run2"))],
    ):
        with pytest.raises(PushRejected):
            mirror.push(project.path, refs)
        assert project.git("rev-parse", "autonomous/run1") == one.sha
        assert project.git("for-each-ref", "refs/heads/autonomous/run2") == ""


def test_branch_that_the_user_has_checked_out_is_not_moved(
    project: Project, mirror: Mirror, base: str
) -> None:
    one = build(mirror, base, new_file("one"))
    mirror.push(project.path, [(one.sha, branch_ref("run1"))])
    project.git("checkout", "-q", "autonomous/run1")
    before = state(project)
    two = build(mirror, one.sha, new_file("two"))
    with pytest.raises(PushRejected):
        mirror.push(project.path, [(two.sha, branch_ref("run1"))])
    assert state(project) == before


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/main", "refs/heads/master", "main", "HEAD", "refs/heads/autonomous",
        "refs/heads/autonomous/",
        "refs/heads/autonomous/../main", "refs/heads/autonomous/a/b", "refs/heads/autonomous/a..b",
        "refs/heads/autonomous/x.lock", "refs/heads/autonomous/-x", "refs/heads/autonomous/a b",
        "refs/heads/autonomous/a:refs/heads/main", "+refs/heads/autonomous/a", "refs/heads/autonomous/*",
        "refs/heads/autonomous/a\nb", "refs/tags/v1", "refs/tags/autopack/../v1", "refs/tags/autopack/",
        "refs/tags/autopack/a//b", "refs/heads/Autonomous/x", "refs/remotes/origin/main", "refs/notes/x",
        "refs/autopack/candidates/r/p/1", "refs/heads/autonomous/\u212a", "", ":refs/heads/autonomous/x",
    ],
)  # fmt: skip
def test_no_other_ref_is_ever_pushed(ref: str, template: Path) -> None:
    project, mirror = Project(template / "project"), Mirror(template / "mirrors" / "project.git")
    before = project.git("for-each-ref")
    base = before.split(" ")[0]
    with pytest.raises(ProtectedBranch) as refusal:
        mirror.push(project.path, [(base, ref)])
    assert refusal.value.code == "protected-branch"
    assert project.git("for-each-ref") == before
    with pytest.raises(ProtectedBranch):
        pushable(ref)


def test_alias_of_a_protected_branch_is_not_written_through(
    project: Project, mirror: Mirror, base: str
) -> None:
    project.git("symbolic-ref", branch_ref("run1"), "refs/heads/main")
    project.git("checkout", "-q", "--detach")
    made = build(mirror, base, new_file("x"))
    with pytest.raises(ProtectedBranch):
        mirror.push(project.path, [(made.sha, branch_ref("run1"))])
    assert project.git("rev-parse", "main") == base


def test_bare_project_works_too(tmp_path: Path, project: Project, mirror: Mirror, base: str) -> None:
    bare = tmp_path / "bare.git"
    project.git("clone", "-q", "--bare", str(project.path), str(bare))
    made = build(mirror, base, new_file("x"))
    assert mirror.fetch(bare, "main") == base
    assert mirror.push(bare, [(made.sha, branch_ref("run1"))]) == (branch_ref("run1"),)
    assert Project(bare).git("rev-parse", "autonomous/run1") == made.sha


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can serve another user's repository")
def test_root_serves_a_users_repository_as_that_user(project: Project, mirror: Mirror, base: str) -> None:
    for path in [project.path, *project.path.rglob("*")]:
        os.lchown(path, 4321, 4321)
    folder = project.path
    opened = []
    while folder != folder.parent:  # the temporary folders above are private to root
        if not folder.stat().st_mode & 0o001:
            opened.append((folder, folder.stat().st_mode))
            folder.chmod(folder.stat().st_mode | 0o011)
        folder = folder.parent
    try:
        assert mirror.fetch(project.path, "main") == base
        made = build(mirror, base, new_file("x"))
        mirror.push(project.path, [(made.sha, branch_ref("run1"))])
    finally:
        for path, mode in opened:
            path.chmod(mode)
    owners = {path.lstat().st_uid for path in (project.path / ".git").rglob("*")}
    assert owners == {4321}


def test_ref_moves_by_compare_and_swap(mirror: Mirror, base: str) -> None:
    ref = branch_ref("run1")
    made = build(mirror, base, new_file("x"))
    mirror.update_ref(ref, base, None)
    with pytest.raises(RefMoved) as lost:
        mirror.update_ref(ref, made.sha, None)
    assert lost.value.current == base
    with pytest.raises(RefMoved):
        mirror.update_ref(ref, base, made.sha)
    mirror.update_ref(ref, made.sha, base)
    assert mirror.read_ref(ref) == made.sha
    with pytest.raises(UnknownRevision):
        mirror.update_ref(ref, "1" * 40, made.sha)
    with pytest.raises(RefMoved):
        mirror.delete_ref(ref, base)
    mirror.delete_ref(ref, made.sha)
    assert mirror.read_ref(ref) is None
    with pytest.raises(RefMoved):
        mirror.delete_ref(ref, made.sha)


@pytest.mark.parametrize(
    "ref", ["refs/heads/main", "HEAD", "refs/remotes/project/main", "refs/autopack/../heads/x"]
)
def test_no_other_ref_of_the_mirror_is_written(ref: str, mirror: Mirror, base: str) -> None:
    with pytest.raises(ProtectedBranch):
        mirror.update_ref(ref, base, None)
    with pytest.raises(ProtectedBranch):
        mirror.delete_ref(ref, base)


def test_lock_file_that_a_killed_git_left_is_no_obstacle(mirror: Mirror, base: str) -> None:
    ref = branch_ref("run1")
    stale = mirror.path / f"{ref}.lock"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.touch()
    mirror.update_ref(ref, base, None)
    assert mirror.read_ref(ref) == base
    assert not stale.exists()


@pytest.mark.parametrize("ids", [("../x", "p"), ("r", "p/q"), ("r", "x.lock"), ("", "p"), ("r\n", "p")])
def test_crafted_ids_make_no_ref(ids: tuple[str, str]) -> None:
    with pytest.raises(ProtectedBranch):
        candidate_ref(*ids, 1)
    with pytest.raises(ProtectedBranch):
        tag_ref(*ids)


@pytest.mark.parametrize(
    "name", ["-x", "main:README.md", "HEAD~1", "a b", "", "^main", "@{upstream}", "x\ny"]
)
def test_only_plain_names_are_resolved(name: str, mirror: Mirror) -> None:
    with pytest.raises(UnknownRevision):
        mirror.resolve(name)


def test_creating_is_done_once(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "new.git")
    assert mirror.create()
    assert not mirror.create()
    assert list(tmp_path.glob(".new.git.*/")) == []


def listing(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file of a folder but `.git`: its mode and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o111, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_checkout_holds_the_bytes_of_the_commit(tmp_path: Path, project: Project, mirror: Mirror) -> None:
    expected = listing(project.path)
    project.write("raw.txt", b"one\r\ntwo\n$Id$\n")
    project.commit()
    project.write(".gitattributes", "*.txt text eol=crlf ident filter=evil export-ignore export-subst\n")
    project.git("add", ".gitattributes")
    project.git("commit", "-qm", "attributes")
    sha = project.git("rev-parse", "HEAD")
    mirror.fetch(project.path, "main")
    for history in (None, 1):
        made = mirror.checkout(sha, tmp_path / f"work{history}", history=history)
        found = listing(made.path)
        assert found.pop("raw.txt")[1] == b"one\r\ntwo\n$Id$\n"
        found.pop(".gitattributes")
        assert found == expected
        assert made.has_git is (made.path / ".git").exists()


def test_checkout_with_history_is_a_repository_of_its_own(
    tmp_path: Path, project: Project, mirror: Mirror
) -> None:
    for number in range(5):
        project.write("counter", f"{number}\n")
        project.commit(f"commit {number}")
    project.git("checkout", "-q", "-b", "side", "HEAD~2")
    project.write("side", "x\n")
    project.commit("side")
    project.git("checkout", "-q", "main")
    project.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    sha = mirror.fetch(project.path, "main")
    mirror_before = sorted(mirror.path.rglob("*"))
    for history in (1, 3, 100):
        work = Project(mirror.checkout(sha, tmp_path / f"work{history}", history=history).path)
        shutil.move(mirror.path, tmp_path / "away")  # nothing in the copy may need the mirror
        try:
            assert work.git("status", "--porcelain") == ""
            assert work.git("rev-parse", "HEAD") == sha
            work.git("fsck", "--strict")
            count = int(work.git("rev-list", "--count", "HEAD"))
            assert count == min(history, int(project.git("rev-list", "--count", "main")))
            work.write("new", "x\n")
            work.commit("an agent's own commit")
            assert str(mirror.path) not in "".join(
                path.read_text("utf-8", "replace")
                for path in (work.path / ".git").rglob("*")
                if path.is_file()
            )
        finally:
            shutil.move(tmp_path / "away", mirror.path)
    assert sorted(mirror.path.rglob("*")) == mirror_before
    links = [path.stat().st_nlink for path in (work.path / ".git" / "objects").rglob("*") if path.is_file()]
    assert set(links) == {1}


def test_checkout_wants_an_empty_folder_and_a_known_commit(tmp_path: Path, mirror: Mirror, base: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(GitFailed):
        mirror.checkout(base, tmp_path / "full")
    with pytest.raises(UnknownRevision):
        mirror.checkout("1" * 40, tmp_path / "new")


def test_mirror_is_sound_for_plain_git(mirror: Mirror, base: str) -> None:
    build(mirror, base, new_file("x"))
    done = subprocess.run(
        ["git", "--git-dir", str(mirror.path), "fsck", "--full", "--strict"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
