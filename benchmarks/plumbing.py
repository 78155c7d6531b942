"""Bare git: plain processes with a private index; no judge, no hardening, no quarantine, no check."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

ABSENT = "0" * 40
PERSON = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "b"), ("EMAIL", "b@b"))
}


def git(git_dir: Path, *args: str, stdin: bytes = b"", index: str | None = None) -> str:
    """Run one git process on a repository; return what it wrote."""
    env = {**os.environ, **PERSON, "GIT_DIR": str(git_dir)}
    if index is not None:
        env["GIT_INDEX_FILE"] = index
    done = subprocess.run(["git", *args], env=env, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit_patch(git_dir: Path, base: str, patch: bytes) -> str:
    """Make a patch one commit on base: four processes; return the commit."""
    with tempfile.TemporaryDirectory() as folder:
        index = f"{folder}/index"
        git(git_dir, "read-tree", base, index=index)
        git(git_dir, "apply", "--cached", "-", stdin=patch, index=index)
        tree = git(git_dir, "write-tree", index=index)
        return git(git_dir, "commit-tree", tree, "-p", base, stdin=b"Change\n")


def move_ref(git_dir: Path, ref: str, new: str, old: str = ABSENT) -> None:
    """Move a ref by compare and swap."""
    git(git_dir, "update-ref", ref, new, old)
