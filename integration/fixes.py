"""Whether a commit contains a fix: git is asked in the ways in which a fix travels from branch to branch."""

from __future__ import annotations

from integration.git_errors import GitOutputTooLarge, GitTimedOut, UnknownRevision
from integration.mirror import Mirror
from integration.refs import full_sha

DEPTH = 2000  # commits that are looked through
_SHAPE = ("-p", "--no-renames", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv")


def contains(mirror: Mirror, commit: str, fix: str) -> bool | None:
    """Tell whether a commit has a fix in its history, as it was, rebased or squashed; None when unknown."""
    try:
        if mirror.is_ancestor(fix, commit):
            return True
        if mirror.is_ancestor(commit, fix):
            return False  # from before the fix, also where the fix made the files what they had been once
        return has_tree(mirror, commit, fix) or has_patch(mirror, commit, fix)
    except (UnknownRevision, GitTimedOut, GitOutputTooLarge):
        return None


def has_tree(mirror: Mirror, commit: str, fix: str, *, depth: int = DEPTH) -> bool:
    """Tell whether one of the last commits of a commit has the very files of the fix, as a squashed merge has.

    Raises UnknownRevision for absent commits.
    """
    wanted = mirror.commit_info(fix).tree
    done = mirror.git("rev-list", "--no-commit-header", "--format=%T", f"--max-count={depth}", "--end-of-options",
                      full_sha(commit), "--", ok=(0, 128))  # fmt: skip
    if done.status:
        raise UnknownRevision(f"No such commit: {commit}")
    return wanted in done.text.split()


def has_patch(mirror: Mirror, commit: str, fix: str, *, depth: int = DEPTH) -> bool:
    """Tell whether a commit, since it left the fix's branch, has that branch's patches: one by one, or all in one.

    So it is after a rebase or a squashed merge onto a branch that has moved on; not if somebody changed them on
    the way. Raises UnknownRevision for absent commits.
    """
    fork = mirror.git("merge-base", full_sha(fix), full_sha(commit), ok=(0, 1, 128))
    if fork.status == 128:
        raise UnknownRevision(f"No such commit: {fix} or {commit}")
    if fork.status or fork.text == fix:
        return False
    log = ("log", "--no-merges", "--format=commit %H", f"--max-count={depth}")
    there = _patch_ids(mirror, *log, over=(f"{fork.text}..{commit}",))
    apart = _patch_ids(mirror, *log, over=(f"{fork.text}..{fix}",))
    whole = _patch_ids(mirror, "diff-tree", "-r", over=(fork.text, fix))
    return bool(whole) and (whole <= there or apart <= there)


def _patch_ids(mirror: Mirror, *command: str, over: tuple[str, ...]) -> set[str]:
    """Return what `git patch-id` makes of each patch that the command shows."""
    shown = mirror.git(*command, *_SHAPE, "--end-of-options", *over, "--").stdout
    if not shown:
        return set()
    return {line.split()[0] for line in mirror.git("patch-id", "--stable", stdin=shown).text.splitlines()}
