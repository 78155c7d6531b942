"""The parser understands what git writes, whole, and answers all else with one kind of error."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.diff_types import DiffLimits, Kind
from integration.diffs import parse
from integration.patch_errors import PatchInvalid, PatchTooLarge
from tests.integration.git.conftest import Project

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: name not in (".", "..") and ".git" not in name.lower() and "git~" not in name.lower())
LINES = st.lists(
    st.sampled_from([b"alpha", b"beta", b"", b"--- a/x", b"+++ b/y", b"@@ -1 +1 @@", b"g\r"]), max_size=8
)
CONTENT = st.one_of(
    st.builds(lambda lines, end: b"\n".join(lines) + end, LINES, st.sampled_from([b"", b"\n"])),
    st.binary(max_size=40),
)
TREE = st.dictionaries(st.builds("/".join, st.lists(NAMES, min_size=1, max_size=3)), CONTENT, max_size=5)


def laid(folder: Path, tree: dict[str, bytes]) -> None:
    """Write a tree as far as its names allow."""
    for entry in folder.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name, content in tree.items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        except OSError:
            continue


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=TREE, after=TREE, options=st.sampled_from([(), ("-M",), ("-C", "--find-copies-harder"), ("-U0",)])
)
def test_whatever_git_writes_is_understood_as_git_counts_it(
    before: dict[str, bytes], after: dict[str, bytes], options: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        project.git("init", "-q")
        laid(project.path, before)
        project.commit()
        laid(project.path, after)
        try:
            project.git("add", "-A", "-f")
        except subprocess.CalledProcessError:
            return  # a name that git itself refuses
        patch = project.raw("diff", "--cached", "--binary", *options)
        moves = tuple(option for option in options if option != "-U0")  # which asks for a patch
        raw = project.raw("diff", "--cached", "--raw", "-z", *moves).decode("utf-8", "surrogateescape")
        numbers = project.raw("diff", "--cached", "--numstat", "-z", *moves)
    fields = raw.split("\0")
    rows, at = [], 0
    while at < len(fields) - 1:
        status = fields[at].split(" ")[4][0]
        wide = status in "RC"
        rows.append((status, *fields[at + 1 : at + (3 if wide else 2)]))
        at += 3 if wide else 2
    letters = {
        Kind.ADD: "A",
        Kind.DELETE: "D",
        Kind.RENAME: "R",
        Kind.COPY: "C",
        Kind.MODIFY: "M",
        Kind.MODE: "M",
    }
    files = parse(patch)
    assert sorted((letters[one.kind], *one.paths) for one in files) == sorted(rows)
    counts = re.findall(rb"(?:^|\0)(\d+|-)\t(\d+|-)\t", numbers)
    assert sum(one.added for one in files) == sum(int(plus) for plus, _ in counts if plus != b"-")
    assert sum(one.removed for one in files) == sum(int(minus) for _, minus in counts if minus != b"-")


PIECES = st.sampled_from(
    [
        b"diff --git a/x b/x\n", b'diff --git "a/\\303" b/x\n', b"--- a/x\n", b"+++ b/x\n",
        b"--- /dev/null\n",
        b"+++ /dev/null\n", b"@@ -1 +1 @@\n", b"@@ -0,0 +1,2 @@\n", b"-a\n", b"+a\n", b" a\n", b"\n",
        b"\\ No newline at end of file\n", b"new file mode 100644\n", b"deleted file mode 100644\n",
        b"old mode 100644\n", b"new mode 100755\n", b"rename from x\n", b"rename to y\n", b"copy from x\n",
        b"GIT binary patch\n", b"literal 3\n", b"Kc${NkU|;|M00961\n", b"index 1..2 100644\n",
        b"similarity index 9%\n",
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(b"".join, st.lists(st.one_of(PIECES, st.binary(max_size=6)), max_size=14)),
    )
)
def test_garbage_ends_in_nothing_but_its_own_error(patch: bytes) -> None:
    try:
        files = parse(patch)
    except PatchInvalid:
        return
    except PatchTooLarge:
        raise AssertionError("small bytes are never too large") from None
    for change in files:
        assert change.paths
        assert change.added == len(change.added_lines)


def test_counts_that_do_not_match_name_the_line() -> None:
    head = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n"
    for hunk, line in (
        (b"@@ -1,2 +1,2 @@\n-a\n+b\n", 7),
        (b"@@ -1 +1 @@\n-a\n+b\n+c\n", 7),
        (b"@@ -1 +1 @@\n-a\n-b\n", 6),
        (b"@@ -1 +1 @@\nX\n", 5),
    ):
        with pytest.raises(PatchInvalid) as refusal:
            parse(head + hunk)
        assert refusal.value.line == line, hunk


@pytest.mark.parametrize(
    "patch",
    [
        b"diff --git a/x b/y\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n",
        b"diff --git a/x b/x\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n",
        b"diff --git x x\n--- x\n+++ x\n@@ -1 +1 @@\n-a\n+b\n",
        b"diff --git a/x b/x\nrename from x\n",
        b"diff --git a/x b/x\nnew file mode 100644\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+b\n",
        b"diff --git a/x b/x\ndeleted file mode 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
        b"diff --git a/x b/x\r\n--- a/x\r\n+++ b/x\r\n@@ -1 +1 @@\r\n-a\r\n+b\r\n",
        b"diff --git a/x b/x\nBinary files a/x and b/x differ\n",
        b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n a\n",
        b"diff --git a/x b/x\n",
        b"From 1234 Mon Sep 17 00:00:00 2001\nSubject: x\n",
    ],
)
def test_what_git_would_read_otherwise_is_refused(patch: bytes) -> None:
    with pytest.raises(PatchInvalid):
        parse(patch)


def test_quoted_names_are_decoded() -> None:
    patch = (
        b'diff --git "a/\\303\\251\\t\\"q\\"" "b/\\303\\251\\t\\"q\\""\nold mode 100644\nnew mode 100755\n'
    )
    (change,) = parse(patch)
    assert change.paths == ('\u00e9\t"q"',)
    assert (change.kind, change.old_mode, change.new_mode) == (Kind.MODE, "100644", "100755")


def test_limits_hold_before_anything_is_read() -> None:
    with pytest.raises(PatchTooLarge):
        parse(b"x" * 11, DiffLimits(max_bytes=10))
