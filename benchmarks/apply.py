"""The governed apply against the bare plumbing that it can't do without, on a repository made here.

    python benchmarks/apply.py [--files 200] [--passes 5] [--rounds 20]

The floor is read-tree, apply --cached, write-tree, commit-tree and update-ref as five plain git processes
with a private index: no judge, no hardening, no quarantine, no check of the result. Both sides apply the same
patches to the same mirror, in turn, so that a noisy machine disturbs both. Prints the median of each pass and
the median ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from integration.candidate import build_candidate
from integration.judge import PatchRules
from integration.mirror import Mirror
from integration.objects import Identity
from integration.refs import branch_ref

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def make_project(folder: Path, files: int) -> None:
    """Make a repository of `files` small modules in folders of twenty."""
    folder.mkdir()
    for number in range(files):
        path = folder / f"package_{number // 20:03}" / f"module_{number:05}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "".join(f"def function_{line}():\n    return {number + line}\n" for line in range(40))
        )
    for args in (
        ("init", "-q", "-b", "main"),
        ("add", "."),
        ("-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "base"),
    ):
        subprocess.run(["git", *args], cwd=folder, check=True)


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
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ,
            "GIT_DIR": str(mirror.path),
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_AUTHOR_NAME": "b",
            "GIT_AUTHOR_EMAIL": "b@b",
            "GIT_COMMITTER_NAME": "b",
            "GIT_COMMITTER_EMAIL": "b@b",
        }

        def git(*args: str, stdin: bytes = b"") -> str:
            done = subprocess.run(["git", *args], env=env, input=stdin, capture_output=True, check=True)
            return done.stdout.decode().strip()

        git("read-tree", base)
        git("apply", "--cached", "-", stdin=patch)
        tree = git("write-tree")
        commit = git("commit-tree", tree, "-p", base, stdin=b"Change\n")
        git("update-ref", ref, commit, "0" * 40)


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


def timed(
    work: Callable[[Mirror, str, bytes, str], None], mirror: Mirror, base: str, patch: bytes, ref: str
) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    work(mirror, base, patch, ref)
    return time.perf_counter() - started


def main() -> None:
    """Run the passes and print them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=200)
    options.add_argument("--passes", type=int, default=5)
    options.add_argument("--rounds", type=int, default=20)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        make_project(project, chosen.files)
        mirror = Mirror(Path(folder) / "mirror.git")
        mirror.create()
        base = mirror.fetch(project, "main")
        total = chosen.passes * chosen.rounds
        patches = [make_patch(project, number) for number in range(2 * total)]
        ratios = []
        for turn in range(chosen.passes):
            spent: tuple[list[float], list[float]] = ([], [])
            for number in range(turn * chosen.rounds, (turn + 1) * chosen.rounds):
                # Each side has patches of its own, so neither finds the other's objects already there.
                ref = branch_ref(f"bare-{number}")
                spent[0].append(timed(bare, mirror, base, patches[2 * number], ref))
                ref = branch_ref(f"run-{number}")
                spent[1].append(timed(governed, mirror, base, patches[2 * number + 1], ref))
            floor, ours = statistics.median(spent[0]), statistics.median(spent[1])
            ratios.append(ours / floor)
            print(f"pass {turn + 1}: bare {floor * 1e3:.1f} ms, ours {ours * 1e3:.1f} ms, x {ratios[-1]:.2f}")
        print(f"files {chosen.files}: median ratio {statistics.median(ratios):.2f} (aim: at most 1.5)")


if __name__ == "__main__":
    main()
