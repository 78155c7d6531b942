"""One patch becomes one commit, or nothing at all.

Judge the bytes, apply them to a private index, judge the tree that git made, write the commit, check the new
objects, and only then move them into the mirror. No ref is written here: the caller does that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from integration import git
from integration.git_errors import GitFailed, GitTimedOut
from integration.indexes import may_hold_links
from integration.judge import (
    NO_FILE,
    ParsedPatch,
    PatchRules,
    TreeChange,
    judge,
    judge_base_links,
    judge_tree_changes,
    parents_of,
)
from integration.mirror import Mirror
from integration.objects import Identity, commit_bytes, write
from integration.patch_errors import BaseMoved, PatchDoesNotApply, PatchInvalid, PatchTooLarge
from integration.quarantine import Quarantine
from integration.strict import Entry, check_objects, judge_new_names

AUTOPACK = Identity(*git.IDENTITY)
APPLY_TIMEOUT_S = 60.0
MAX_ASKED_BYTES = 8 * 1024 * 1024
MAX_SHOWN = 200  # names in one command line; what is beyond them git refuses by itself
MAX_OBJECT_BYTES = 256 * 1024 * 1024
_UNREADABLE = re.compile(r"corrupt|unrecognized|malformed|garbage|no valid patches|invalid path", re.I)


@dataclass(frozen=True)
class Candidate:
    """A commit that is whole and checked in the mirror, and that no ref names yet."""

    sha: str
    tree: str
    base: str
    paths: tuple[str, ...]
    lines_added: int
    lines_removed: int
    patch_sha256: str

    @property
    def diff_lines(self) -> int:
        """Return the size that rules on the size of a diff ask of."""
        return self.lines_added + self.lines_removed


def build_candidate(
    mirror: Mirror,
    *,
    patch: bytes,
    base: str,
    rules: PatchRules,
    author: Identity,
    message: str,
    trailers: Sequence[tuple[str, str]],
    timestamp: datetime,
    committer: Identity = AUTOPACK,
) -> Candidate:
    """Make patch one commit on base. The same arguments give the same commit, in any mirror that has base.

    `base` is a full commit name, `timestamp` aware. Any number of processes may build on one mirror at once.

    Raises a subclass of PatchRefused for whatever the judge or git refuses, UnknownRevision for an absent
    base, GitTimedOut. Then no commit, ref, file or object is left.
    """
    parsed = judge(patch, rules)
    with mirror.quarantine() as aside:
        mirror.read_index(base, aside)
        judge_base_links(_links_above(aside, base, parsed), parsed)
        _apply(aside, parsed)
        tree = git.run("write-tree", place=aside.place).text
        changes = tree_changes(aside, base, tree)
        if not {change.path for change in changes} <= set(parsed.paths):
            raise PatchInvalid("Git reads the patch otherwise than it is written")
        judge_tree_changes(changes, rules)
        trees = check_objects(aside, max_object_bytes=MAX_OBJECT_BYTES)
        added = [change.path for change in changes if change.old_mode == NO_FILE]
        judge_new_names(added, tree, trees, lambda sha: _listed(aside, sha))
        sha = write(
            aside.objects,
            "commit",
            commit_bytes(
                tree=tree,
                parents=(base,),
                author=author,
                committer=committer,
                at=timestamp,
                message=message,
                trailers=trailers,
            ),
        )
        aside.release(last=sha)
        mirror.indexes.keep(sha, aside.index)
    return Candidate(
        sha=sha,
        tree=tree,
        base=base,
        paths=tuple(change.path for change in changes),
        lines_added=parsed.added,
        lines_removed=parsed.removed,
        patch_sha256=parsed.sha256,
    )


def rebuild(
    mirror: Mirror,
    candidate: Candidate,
    *,
    patch: bytes,
    new_base: str,
    rules: PatchRules,
    author: Identity,
    message: str,
    trailers: Sequence[tuple[str, str]],
    timestamp: datetime,
) -> Candidate:
    """Make the same patch a commit on a branch that has moved since.

    Raises BaseMoved when it doesn't apply there any more, ValueError for another patch than the candidate's.
    """
    if judge(patch, rules).sha256 != candidate.patch_sha256:
        raise ValueError("this is not the patch of that candidate")
    try:
        return build_candidate(
            mirror,
            patch=patch,
            base=new_base,
            rules=rules,
            author=author,
            message=message,
            trailers=trailers,
            timestamp=timestamp,
        )
    except PatchDoesNotApply as error:
        raise BaseMoved(
            f"The patch was made for {candidate.base[:12]} and does not apply to {new_base[:12]}",
            base=candidate.base,
            head=new_base,
        ) from error


def tree_changes(aside: Quarantine, base: str, tree: str) -> tuple[TreeChange, ...]:
    """Return what differs between two trees; a rename is a removal and an addition."""
    raw = git.run(
        "diff-tree", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--end-of-options", base, tree,
        place=aside.place,
    ).stdout  # fmt: skip
    fields = raw.decode("utf-8", "surrogateescape").split("\0")
    changes = []
    for at in range(0, len(fields) - 1, 2):
        old_mode, new_mode, _old, _new, status = fields[at][1:].split(" ")
        changes.append(TreeChange(fields[at + 1], old_mode, new_mode, status))
    return tuple(changes)


def _listed(aside: Quarantine, tree: str) -> tuple[Entry, ...]:
    """Return the entries of a tree that was in the mirror before."""
    raw = git.run("ls-tree", "-z", "--end-of-options", tree, place=aside.place).stdout
    entries = []
    for row in raw.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        about, _, name = row.partition("\t")
        mode, _kind, sha = about.split()
        entries.append(Entry(name, int(mode, 8), sha))
    return tuple(entries)


def _links_above(aside: Quarantine, base: str, parsed: ParsedPatch) -> set[str]:
    """Return those folders of the patch's names that are symbolic links in the base.

    One process asks of what kind each is; only where one is no folder (hardly ever) a second asks whether it is a
    link. Raises PatchTooLarge for names that nest so deeply that asking would cost more than MAX_ASKED_BYTES.
    """
    asked: set[str] = set()
    asked_bytes = 0
    for path in parsed.paths:
        for parent in parents_of(path):
            if parent not in asked:
                asked.add(parent)
                asked_bytes += len(parent)
                if asked_bytes > MAX_ASKED_BYTES:
                    raise PatchTooLarge("The names of the patch nest too deeply", path=path)
    names = sorted(
        name for name in asked if "\n" not in name
    )  # it would look like two answers; git refuses those
    if not names or not may_hold_links(aside.index):  # hardly any base has one: a process less
        return set()
    lines = "".join(f"{base}:{name}\0" for name in names).encode("utf-8", "surrogateescape")
    kinds = git.run(
        "cat-file", "--batch-check=%(objecttype)", "-z", place=aside.place, stdin=lines
    ).stdout.split(b"\n")[:-1]
    blobs = [name for name, kind in zip(names, kinds, strict=True) if kind == b"blob"]
    if not blobs:
        return set()
    listed = git.run("ls-files", "--stage", "-z", "--", *blobs[:MAX_SHOWN], place=aside.place).stdout
    rows = listed.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return {row.partition("\t")[2] for row in rows if row.startswith("120000 ")}


def _apply(aside: Quarantine, parsed: ParsedPatch) -> None:
    try:
        git.run(
            "apply", "--cached", "--whitespace=nowarn", "-p1", "-",
            place=aside.place, stdin=parsed.content, timeout_s=APPLY_TIMEOUT_S,
        )  # fmt: skip
    except GitTimedOut:
        raise
    except GitFailed as error:
        why = error.stderr.removeprefix("error: ")[-1000:]
        if _UNREADABLE.search(error.stderr):
            raise PatchInvalid(f"Git can't read the patch: {why}") from error
        raise PatchDoesNotApply(f"The patch does not apply: {why}") from error
