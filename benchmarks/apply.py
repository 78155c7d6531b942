"""The governed apply against the bare plumbing that it can't do without, on repositories of 200 and 2,000 files.

The floor is read-tree, apply --cached, write-tree, commit-tree and update-ref as five plain git processes
with a private index: no judge, no hardening, no quarantine, no check of the result. Both sides apply patches of
their own to the same mirror, in turn.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Row, alternating, row
from benchmarks.plumbing import commit_patch, move_ref
from benchmarks.stage import make_repository
from integration.candidate import build_candidate
from integration.judge import PatchRules
from integration.mirror import Mirror
from integration.objects import Identity
from integration.refs import branch_ref

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
FILES = (200, 2_000)
ROUNDS = 10
AIM = "<= 1.5x"


def make_patch(folder: Path, number: int) -> bytes:
    """Return a patch of three changed files and a new one; leave the project as it was."""
    for path in sorted(folder.glob("package_*/module_*.py"))[number % 7 : 60 : 20]:
        path.write_text(path.read_text().replace("return", f"return {number} +", 3))
    (folder / f"added_{number}.py").write_text(f"VALUE = {number}\n" * 20)
    run = ["git", "-C", str(folder)]
    subprocess.run([*run, "add", "-A"], check=True)
    patch = subprocess.run([*run, "diff", "--cached"], check=True, capture_output=True).stdout
    subprocess.run([*run, "reset", "-q", "--hard"], check=True)
    return patch


def bare(mirror: Mirror, base: str, patch: bytes, ref: str) -> None:
    """Do the floor's five processes."""
    move_ref(mirror.path, ref, commit_patch(mirror.path, base, patch))


def governed(mirror: Mirror, base: str, patch: bytes, ref: str) -> None:
    """Do what Autopack does."""
    made = build_candidate(
        mirror,
        patch=patch,
        base=base,
        rules=PatchRules(),
        author=Identity("builder", "builder@localhost"),
        message="Change",
        trailers=[("Autopack-Run", "bench"), ("Autopack-Phase", "p1")],
        timestamp=WHEN,
    )
    mirror.update_ref(ref, made.sha, None)


def run(folder: Path, passes: int) -> list[Row]:
    """Measure each size; return their rows."""
    return [_measured(folder / f"apply-{files}", files, passes) for files in FILES]


def _measured(folder: Path, files: int, passes: int) -> Row:
    project = make_repository(folder / "project", files)
    mirror = Mirror(folder / "mirror.git")
    mirror.create()
    base = mirror.fetch(project, "main")
    # Each side has patches of its own, so neither finds the other's objects already there.
    patches = [make_patch(project, number) for number in range(2 * passes * ROUNDS)]
    measured = [
        alternating(
            lambda number: bare(mirror, base, patches[2 * number], branch_ref(f"bare-{number}")),
            lambda number: governed(mirror, base, patches[2 * number + 1], branch_ref(f"run-{number}")),
            range(turn * ROUNDS, (turn + 1) * ROUNDS),
        )
        for turn in range(passes)
    ]
    return row(f"apply, {files:,} files", measured, aim=AIM)
