"""Any stored patch can be shown side by side, also one that the judge refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.console import highlight, side_by_side
from integration.console.patches import read
from integration.console.side_by_side import MARKED_ROWS, SHOWN_ROWS, show

PATCH = """\
diff --git a/src/one.py b/src/one.py
index 1..2 100644
--- a/src/one.py
+++ b/src/one.py
@@ -1,4 +1,5 @@ def one():
 first
-second line
-third
+second words
+added
+more
 last
"""


def sides(text: str) -> list[tuple[object, ...]]:
    return [
        (pair.old.number, pair.old.text, pair.old.kind, pair.new.number, pair.new.text, pair.new.kind)
        for file in read(text)
        for hunk in file.hunks
        for pair in hunk.pairs
    ]


def test_removed_lines_stand_beside_the_added_ones_that_follow_them() -> None:
    assert sides(PATCH) == [
        (1, "first", "same", 1, "first", "same"),
        (2, "second line", "del", 2, "second words", "add"),
        (3, "third", "del", 3, "added", "add"),
        (None, "", "none", 4, "more", "add"),
        (4, "last", "same", 5, "last", "same"),
    ]


def test_a_file_has_its_name_its_counts_and_its_headers() -> None:
    (file,) = read(PATCH)
    assert (file.name, file.added, file.removed) == ("src/one.py", 3, 2)
    assert file.notes == ["index 1..2 100644", "--- a/src/one.py", "+++ b/src/one.py"]
    assert file.hunks[0].header == "@@ -1,4 +1,5 @@ def one():"


def test_a_renamed_file_has_both_names() -> None:
    (file,) = read(
        "diff --git a/old.py b/new.py\nsimilarity index 100%\nrename from old.py\nrename to new.py\n"
    )
    assert file.name == "old.py -> new.py"


def test_a_line_that_looks_like_a_header_inside_a_hunk_is_a_line() -> None:
    text = "diff --git a/a b/a\n@@ -1,2 +1,2 @@\n--- old\n-diff --git a/x b/x\n+++ new\n+@@ -1 +1 @@\n"
    assert [row[1] for row in sides(text)] == ["-- old", "diff --git a/x b/x"]
    assert [row[4] for row in sides(text)] == ["++ new", "@@ -1 +1 @@"]


def test_a_missing_line_end_is_told_on_its_side() -> None:
    text = "diff --git a/a b/a\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n"
    assert sides(text) == [(1, "a (no line end)", "del", 1, "b", "add")]


@given(st.text(alphabet=st.sampled_from("+- @\\\nadiff-gt/b1,"), max_size=400))
def test_no_line_of_any_text_gets_lost(text: str) -> None:
    shown: list[str] = []
    for file in read("diff --git a/a b/a\n@@ -1,9 +1,9 @@\n" + text):
        shown += [file.name, *file.notes]
        for hunk in file.hunks:
            shown.append(hunk.header)
            shown += [pair.old.text for pair in hunk.pairs] + [pair.new.text for pair in hunk.pairs]
    told = "\n".join(shown)
    for line in text.split("\n"):
        if line and line[0] not in "+- \\" and not line.startswith(("@@", "diff")):
            assert line in told


@pytest.mark.parametrize(
    "text", ["", "\n", "no patch at all", "@@ -1 +1 @@\n-a\n", "GIT binary patch\nliteral 5\n"]
)
def test_what_is_no_patch_is_shown_as_it_stands(text: str) -> None:
    shown = show(text.encode(), len(text))
    assert "".join(note for file in shown.files for note in file.notes) == text.replace("\n", "")


def test_what_differs_within_a_line_is_marked() -> None:
    row = show(PATCH.encode(), len(PATCH)).files[0].hunks[0].rows[1]
    assert "<mark>" in row[0].html
    assert "second" in row[1].html.split("<mark>")[0]


def test_code_is_coloured_by_its_language() -> None:
    patch = b"diff --git a/a.py b/a.py\n@@ -0,0 +1 @@\n+def one(): return 'x'  # why\n"
    html = show(patch, len(patch)).files[0].hunks[0].rows[0][1].html
    assert '<span class="k">def</span>' in html
    assert '<span class="c"># why</span>' in html


def test_hostile_code_is_escaped_in_colour_too() -> None:
    patch = "diff --git a/<b>.py b/<b>.py\n@@ -0,0 +1 @@\n+x = '</td><script>\u202e'\n".encode()
    (file,) = show(patch, len(patch)).files
    html = file.hunks[0].rows[0][1].html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert '<span class="esc">\\u202e</span>' in html


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n"), max_size=60), max_size=12))
def test_colouring_never_changes_what_is_reviewed(texts: list[str]) -> None:
    for name in ("a.py", "a.js", "a.yaml", "a.json", "a.sh"):
        assert ["".join(part for part, _ in row) for row in highlight.lines(texts, name)] == texts


@pytest.mark.parametrize(
    "suffix", [".py", ".js", ".ts", ".yaml", ".toml", ".css", ".sql", ".sh", ".rs", ".rb"]
)
def test_no_lexer_runs_long_on_a_hunk_of_the_largest_size(suffix: str) -> None:
    count = highlight.MAX_BLOCK_CHARS // highlight.MAX_LINE_CHARS
    for piece in ('"', "$(", "a:"):
        line = (piece * highlight.MAX_LINE_CHARS)[: highlight.MAX_LINE_CHARS]
        began = time.process_time()
        highlight.lines([line] * count, f"a{suffix}")
        assert time.process_time() - began < 1.5


def test_only_so_much_of_a_page_is_coloured() -> None:
    hunk = (
        "@@ -0,0 +1,100 @@\n" + "+x = 'a string of some length, so that it counts'  # and a comment\n" * 100
    )
    patch = ("diff --git a/a.py b/a.py\n" + hunk * 12).encode()
    hunks = show(patch, len(patch)).files[0].hunks
    coloured = ['class="s"' in hunk.rows[0][1].html for hunk in hunks]
    assert coloured == sorted(coloured, reverse=True)
    assert (coloured[0], coloured[-1]) == (True, False)


def test_a_patch_of_very_many_lines_is_cut_and_says_so() -> None:
    lines = "".join(f"-old {n}\n+new {n}\n" for n in range(SHOWN_ROWS + 10))
    patch = f"diff --git a/a.txt b/a.txt\n@@ -1,{SHOWN_ROWS + 10} +1,{SHOWN_ROWS + 10} @@\n{lines}".encode()
    shown = show(patch, len(patch))
    assert shown.is_cut
    assert sum(len(hunk.rows) for file in shown.files for hunk in file.hunks) <= SHOWN_ROWS


def test_a_patch_of_very_many_files_is_cut_and_says_how_many_are_left() -> None:
    one = "diff --git a/{0} b/{0}\n@@ -0,0 +1,2000 @@\n" + "+x\n" * 2000
    patch = "".join(one.format(n) for n in range(5)).encode()
    shown = show(patch, len(patch))
    assert (len(shown.files), shown.left_out_files) == (2, 3)


def test_the_bytes_that_were_not_read_are_counted() -> None:
    shown = show(b"diff --git a/a b/a\n", side_by_side.SHOWN_BYTES + 500)
    assert shown.left_out_bytes == side_by_side.SHOWN_BYTES + 500 - 19
    assert shown.is_cut


def test_only_so_many_lines_are_compared_letter_by_letter() -> None:
    count = MARKED_ROWS + 50
    pairs = "".join(f"-line {n}\n" for n in range(count)) + "".join(f"+line {n}!\n" for n in range(count))
    patch = f"diff --git a/a b/a\n@@ -1,{count} +1,{count} @@\n{pairs}".encode()
    rows = show(patch, len(patch)).files[0].hunks[0].rows
    assert sum("<mark>" in new.html for _, new in rows) == MARKED_ROWS


def test_credentials_in_a_patch_are_taken_out() -> None:
    patch = b"diff --git a/a b/a\n@@ -0,0 +1 @@\n+token = apk_" + b"x" * 40 + b"\n"
    assert "apk_" not in show(patch, len(patch)).files[0].hunks[0].rows[0][1].html
