"""One patch becomes one commit, the same one each time, or leaves nothing at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from integration import candidate as candidates
from integration import git
from integration.candidate import build_candidate, rebuild
from integration.git_errors import GitTimedOut, RefMoved, UnknownRevision
from integration.indexes import may_hold_links
from integration.judge import PatchRules
from integration.mirror import Mirror
from integration.objects import Identity, commit_bytes
from integration.patch_errors import (
    BaseMoved,
    CaseCollision,
    GitDirectory,
    PatchDoesNotApply,
    PatchEmpty,
    PatchRefused,
    PathOutOfScope,
    SymlinkChange,
)
from integration.quarantine import quarantine, sweep
from integration.refs import branch_ref
from tests.integration.git.conftest import BUILDER, WHEN, Project, build, contents, new_file


def edit(project: Project, name: str, old: str, new: str) -> bytes:
    """Return the patch of replacing old by new in a file."""
    path = project.path / name
    path.write_text(path.read_text().replace(old, new))
    return project.patch()


def test_candidate_is_the_commit_that_git_itself_would_make(
    project: Project, mirror: Mirror, base: str
) -> None:
    project.write("src/new.py", "new = 1\n").chmod(0o755)
    (project.path / "docs/guide.md").unlink()
    patch = edit(project, "src/app.py", "line_3 = 3", "line_3 = 'three'")
    made = build(mirror, base, patch)
    project.raw("apply", "--index", input=patch)
    assert made.tree == project.git("write-tree")
    assert made.paths == ("docs/guide.md", "src/app.py", "src/new.py")
    assert (made.lines_added, made.lines_removed) == (2, 3)
    info = mirror.commit_info(made.sha)
    assert (info.parents, info.tree, info.committed_at) == ((base,), made.tree, WHEN)
    assert mirror.diff(base, made.sha).count(b"diff --git") == 3
    mirror.fsck()


def test_same_input_gives_the_same_commit_in_any_mirror(
    tmp_path: Path, project: Project, mirror: Mirror, base: str
) -> None:
    other = Mirror(tmp_path / "other.git")
    other.create()
    other.fetch(project.path, "main")
    patch = new_file("src/new.py")
    first = build(mirror, base, patch)
    assert build(other, base, patch) == first
    assert build(mirror, base, patch) == first
    assert build(mirror, base, patch, timestamp=WHEN + timedelta(seconds=1)).sha != first.sha


def test_line_ends_and_missing_last_newlines_are_kept(project: Project, mirror: Mirror) -> None:
    project.write(".gitattributes", "* text=auto eol=lf\n*.txt ident\n")
    project.git("config", "core.autocrlf", "false")
    project.write("dos.txt", b"one\r\ntwo\r\n$Id$\r\nend")
    project.git("-c", "core.autocrlf=false", "add", "-A", "-f")
    project.git("rm", "-q", "--cached", ".gitattributes")
    project.git("commit", "-qm", "dos")
    (project.path / ".gitattributes").unlink()
    base = mirror.fetch(project.path, "main")
    project.write("dos.txt", b"one\r\n2\r\n$Id$\r\nend!")
    made = build(mirror, base, project.patch())
    assert mirror.git("cat-file", "blob", f"{made.sha}:dos.txt").stdout == b"one\r\n2\r\n$Id$\r\nend!"


def test_refused_and_failing_patches_leave_nothing(project: Project, mirror: Mirror, base: str) -> None:
    before = contents(mirror)
    wrong = (
        b"diff --git a/src/app.py b/src/app.py\n--- a/src/app.py\n+++ b/src/app.py\n@@ -1 +1 @@\n-no\n+yes\n"
    )
    half = new_file("src/fine.py", "fine\n" * 50) + wrong
    for patch, error in (
        (wrong, PatchDoesNotApply),
        (half, PatchDoesNotApply),
        (new_file("src/app.py"), PatchDoesNotApply),
        (new_file("Src/APP.py"), CaseCollision),
        (new_file("README.md/x"), PatchRefused),
        (new_file("SRC/x.py"), CaseCollision),
    ):
        with pytest.raises(error):
            build(mirror, base, patch)
    assert contents(mirror) == before


def test_result_is_judged_where_the_patch_does_not_tell(project: Project, mirror: Mirror) -> None:
    os.symlink("README.md", project.path / "link")
    project.commit()
    base = mirror.fetch(project.path, "main")
    before = contents(mirror)
    # No index line and no mode line: from the patch alone this is a plain file.
    sly = (
        b"diff --git a/link b/link\n--- a/link\n+++ b/link\n@@ -1 +1 @@\n-README.md\n"
        b"\\ No newline at end of file\n+/etc/passwd\n\\ No newline at end of file\n"
    )
    with pytest.raises(SymlinkChange):
        build(mirror, base, sly)
    after = contents(mirror)
    assert after == before


def test_new_folder_that_git_would_take_for_a_repository_is_refused(mirror: Mirror, base: str) -> None:
    patch = b"".join(new_file(f"fixtures/{name}") for name in ("HEAD", "config", "objects/x", "refs/heads/y"))
    with pytest.raises(GitDirectory):
        build(mirror, base, patch)


def test_scope_holds_for_the_result(mirror: Mirror, base: str) -> None:
    with pytest.raises(PathOutOfScope):
        build(mirror, base, new_file("docs/x.md"), rules=PatchRules(scope=("src/**",)))


def test_patch_that_leaves_the_tree_as_it_was_is_empty(mirror: Mirror, base: str) -> None:
    head = b"diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n"
    patch = head + b"@@ -1 +1 @@\n-# Read me\n+# Read me\n"
    with pytest.raises(PatchEmpty):
        build(mirror, base, patch)


def test_torn_index_lets_no_wrong_tree_through(mirror: Mirror, base: str) -> None:
    right = build(mirror, base, new_file("src/new.py"))
    remembered = mirror.indexes.folder / base
    whole = remembered.read_bytes()
    for torn in (b"", whole[:-30], whole.replace(b"README.md", b"README.mb")):
        remembered.unlink()
        remembered.write_bytes(torn)
        assert build(mirror, base, new_file("src/new.py")) == right
        assert remembered.read_bytes() == whole


def test_at_most_32_indexes_are_remembered(mirror: Mirror, base: str) -> None:
    for number in range(40):
        build(mirror, base, new_file(f"x{number}"))
    assert len(list(mirror.indexes.folder.iterdir())) == 32
    assert (mirror.indexes.folder / base).exists()  # it was used all the time


def test_unknown_base_is_told_by_its_own_error(mirror: Mirror) -> None:
    with pytest.raises(UnknownRevision):
        build(mirror, "1" * 40, new_file("x"))
    with pytest.raises(UnknownRevision):
        build(mirror, "main", new_file("x"))


def test_rebuilding_on_a_moved_base_keeps_the_change(project: Project, mirror: Mirror, base: str) -> None:
    patch = edit(project, "src/app.py", "line_3 = 3", "line_3 = 33")
    made = build(mirror, base, patch)
    moved = build(mirror, base, new_file("src/new.py")).sha
    common = {"rules": PatchRules(), "author": BUILDER, "message": "m", "trailers": [], "timestamp": WHEN}
    again = rebuild(mirror, made, patch=patch, new_base=moved, **common)  # type: ignore[arg-type]
    assert mirror.commit_info(again.sha).parents == (moved,)
    assert (again.paths, again.patch_sha256) == (made.paths, made.patch_sha256)
    clash = build(mirror, base, edit(project, "src/app.py", "line_3 = 3", "line_3 = 'other'")).sha
    before = contents(mirror)
    with pytest.raises(BaseMoved) as refusal:
        rebuild(mirror, made, patch=patch, new_base=clash, **common)  # type: ignore[arg-type]
    assert refusal.value.code == "base-moved"
    assert contents(mirror) == before


def test_hostile_text_forges_no_trailer(mirror: Mirror, base: str, tmp_path: Path) -> None:
    made = build_candidate(
        mirror,
        patch=new_file("x"),
        base=base,
        rules=PatchRules(),
        author=Identity("Eve <root@x>\nAutopack-Run: a", "e\n@x> 1 +0000\nparent 1"),
        message="Subject\n\nAutopack-Run: forged1\n\nSigned-off-by: Boss <b@x>\n---\n"
        "Autopack-Run: forged2\x00\r\n",
        trailers=[
            ("Autopack-Run", "run1\nAutopack-Phase: forged3"),
            ("Autopack-Agent", "eve\u2028Autopack-Phase: forged4\x85\r\x1b[2J"),
            ("Autopack-Phase", "p1"),
        ],
        timestamp=WHEN,
    )
    message = mirror.commit_info(made.sha).message
    for options in ((), ("--no-divider",)):
        parsed = subprocess.run(
            ["git", "interpret-trailers", "--parse", *options],
            input=message.encode(), capture_output=True, check=True, cwd=tmp_path,
        ).stdout.decode()  # fmt: skip
        rows = [line.partition(": ") for line in parsed.splitlines()]
        assert [key for key, _, _ in rows] == ["Autopack-Run", "Autopack-Agent", "Autopack-Phase"]
        assert {key: value for key, _, value in rows}["Autopack-Phase"] == "p1"
    starts = [line for line in message.splitlines() if line.lower().startswith(("autopack-", "signed-off"))]
    assert len(starts) == 3
    raw = mirror.git("cat-file", "commit", made.sha).text.split("\n\n", 1)[0].splitlines()
    assert [line.split(" ", 1)[0] for line in raw] == ["tree", "parent", "author", "committer"]
    mirror.fsck()


def test_trailer_needs_a_real_key_and_a_zoned_time() -> None:
    given = {"tree": "1" * 40, "parents": [], "author": BUILDER, "committer": BUILDER, "message": "m"}
    with pytest.raises(ValueError, match="trailer"):
        commit_bytes(**given, at=WHEN, trailers=[("a: b\nc", "d")])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time zone"):
        commit_bytes(**given, at=WHEN.replace(tzinfo=None), trailers=[])  # type: ignore[arg-type]


def test_time_limit_of_apply_leaves_nothing(
    mirror: Mirror, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(mirror, base, new_file("warm.py"))
    before = contents(mirror)
    real = shutil.which("git")
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\ncase " $* " in *" apply "*) sleep 600;; esac\nexec {real} "$@"\n')
    fake.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
        patched.setattr(candidates, "APPLY_TIMEOUT_S", 0.5)
        with pytest.raises(GitTimedOut):
            build(mirror, base, new_file("src/new.py"))
    assert contents(mirror) == before


WORKER = """
import sys
from pathlib import Path
from integration.git_errors import RefMoved
from integration.mirror import Mirror
from integration.refs import branch_ref
from tests.integration.git.conftest import build, new_file
mirror, base, name = Mirror(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
ref = branch_ref("shared")
for number in range(int(sys.argv[4])):
    while True:
        head = mirror.read_ref(ref)
        made = build(mirror, head or base, new_file(f"{name}/{number}.py", f"{name} {number}\\n"))
        try:
            mirror.update_ref(ref, made.sha, head)
            break
        except RefMoved:
            pass
"""


def started(mirror: Mirror, base: str, name: str, count: int) -> subprocess.Popen[bytes]:
    """Start a process that puts commits on one branch, one after another."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(mirror.path), base, name, str(count)],
        cwd=Path(git.__file__).parent.parent, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def test_processes_that_race_for_one_branch_lose_no_commit(mirror: Mirror, base: str) -> None:
    racing = [started(mirror, base, name, 6) for name in ("one", "two")]
    for process in racing:
        _, words = process.communicate(timeout=120)
        assert process.returncode == 0, words
    head = mirror.read_ref(branch_ref("shared"))
    assert head is not None
    assert mirror.count(base, head) == 12
    files = mirror.git("ls-tree", "-r", "--name-only", head).text.splitlines()
    assert len([name for name in files if name.startswith(("one/", "two/"))]) == 12
    assert contents(mirror)["waiting"] == []
    mirror.fsck()


def test_killed_builder_leaves_a_mirror_that_the_next_one_can_use(mirror: Mirror, base: str) -> None:
    ref = branch_ref("shared")
    for turn in range(3):
        process = started(mirror, base, f"killed{turn}", 1000)
        deadline = time.monotonic() + 60
        before = mirror.read_ref(ref)
        while mirror.read_ref(ref) == before:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
        time.sleep(0.003 * turn)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    survivor = started(mirror, base, "last", 2)
    _, words = survivor.communicate(timeout=60)
    assert survivor.returncode == 0, words
    head = mirror.read_ref(ref)
    assert head is not None
    assert "last/1.py" in mirror.git("ls-tree", "-r", "--name-only", head).text
    sweep(mirror.path)
    mirror.pack()
    assert contents(mirror)["waiting"] == []
    mirror.fsck()


def test_sweep_spares_the_living(mirror: Mirror) -> None:
    with quarantine(mirror.path) as alive:
        (mirror.path / "autopack" / "quarantine" / "left-behind" / "objects").mkdir(parents=True)
        assert sweep(mirror.path) == 1
        assert alive.objects.is_dir()
    assert contents(mirror)["waiting"] == []


def test_candidate_is_kept_once_for_an_attempt(mirror: Mirror, base: str) -> None:
    made = build(mirror, base, new_file("x"))
    ref = mirror.keep("run1", "p1", 1, made.sha)
    assert ref == "refs/autopack/candidates/run1/p1/1"
    assert mirror.keep("run1", "p1", 1, made.sha) == ref
    with pytest.raises(RefMoved):
        mirror.keep("run1", "p1", 1, base)
    assert mirror.read_ref(ref) == made.sha


@pytest.mark.parametrize("version", [2, 3, 4])
def test_an_index_tells_whether_it_may_hold_a_link(project: Project, version: int) -> None:
    """Only where it may is git asked for the links of a base, so an overlooked one would be written through."""
    project.git("update-index", "--index-version", str(version))
    index = project.path / ".git" / "index"
    assert not may_hold_links(index)
    os.symlink("src", project.path / "docs" / "short")
    project.git("add", "-A")
    if version == 3:  # git writes it only where an entry needs it
        project.write("later", "x")
        project.git("add", "--intent-to-add", "later")
    assert index.read_bytes()[4:8] == version.to_bytes(4, "big")
    assert may_hold_links(index)
