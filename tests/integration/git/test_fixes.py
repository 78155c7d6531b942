"""Fixes are found in what came of them: merged as they were, squashed, rebased onto a branch that moved on."""

from __future__ import annotations

import pytest

from integration import fixes
from integration.git_errors import UnknownRevision
from integration.mirror import Mirror
from tests.integration.git.conftest import Project, build, new_file


def test_a_fix_is_found_as_it_was_and_squashed(project: Project, mirror: Mirror, base: str) -> None:
    fix = build(mirror, base, new_file("fix")).sha
    after = build(mirror, fix, new_file("more")).sha
    assert mirror.is_ancestor(fix, after)
    assert not mirror.is_ancestor(fix, base)
    assert not fixes.has_tree(mirror, base, fix)
    project.write("fix", "x\n")
    squashed = project.commit("Fix it, squashed")
    project.write("later", "y\n")
    later = project.commit("Go on")
    mirror.fetch(project.path, "main")
    assert not mirror.is_ancestor(fix, later)
    assert fixes.has_tree(mirror, squashed, fix)
    assert fixes.has_tree(mirror, later, fix)
    assert not fixes.has_tree(mirror, later, fix, depth=1)
    with pytest.raises(UnknownRevision):
        fixes.has_tree(mirror, "1" * 40, fix)


@pytest.mark.parametrize(
    ("written", "has_it"),
    [([["one", "fix"]], True), ([["one"], ["fix"]], True), ([["one"]], False), ([], False)],
    ids=["squashed", "rebased", "half", "without"],
)
def test_a_fix_is_found_on_a_branch_that_has_moved_on(
    project: Project, mirror: Mirror, base: str, written: list[list[str]], has_it: bool
) -> None:
    fix = build(mirror, build(mirror, base, new_file("one")).sha, new_file("fix")).sha
    project.write("other", "o\n")
    project.commit("Somebody else's")
    for names in written:
        for name in names:
            project.write(name, "x\n")
        project.commit()
    project.write("other", "p\n")
    project.commit("Go on")
    later = mirror.fetch(project.path, "main")
    assert not mirror.is_ancestor(fix, later)
    assert not fixes.has_tree(mirror, later, fix)
    assert fixes.has_patch(mirror, later, fix) is has_it
    assert not fixes.has_patch(mirror, base, fix)
    with pytest.raises(UnknownRevision):
        fixes.has_patch(mirror, "1" * 40, fix)
