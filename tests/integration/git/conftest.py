"""A user's repository, Autopack's mirror of it, and short ways to make patches and candidates."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from integration.candidate import Candidate, build_candidate
from integration.judge import PatchRules
from integration.mirror import Mirror
from integration.objects import Identity

WHEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUILDER = Identity("builder", "builder@localhost")


@dataclass
class Project:
    """A user's own repository with a work tree."""

    path: Path

    def git(self, *args: str, **options: Any) -> str:
        """Run git as the user would; return stdout."""
        return self.raw(*args, **options).decode("utf-8", "surrogateescape").strip()

    def raw(self, *args: str, **options: Any) -> bytes:
        """Run git as the user would; return stdout as it is."""
        env = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        return subprocess.run(
            ["git", "-c", "user.name=User", "-c", "user.email=user@example.org", *args],
            cwd=self.path, env=env, check=True, capture_output=True, **options,
        ).stdout  # fmt: skip

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file, making its folders."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, message: str = "change") -> str:
        """Commit everything; return the commit."""
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def patch(self, *options: str) -> bytes:
        """Return what the work tree changes, as a patch, and take it back."""
        self.git("add", "-A", "-f")
        patch = self.raw("diff", "--cached", "--binary", *options)
        self.git("reset", "-q", "--hard")
        return patch


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository that has a few files of each kind, and a mirror that has fetched it."""
    folder = tmp_path_factory.mktemp("template")
    made = Project(folder / "project")
    made.path.mkdir()
    made.git("init", "-q", "-b", "main")
    made.write("README.md", "# Read me\n")
    made.write("src/app.py", "".join(f"line_{number} = {number}\n" for number in range(30)))
    made.write("src/other.py", "x = 1\n")
    made.write("docs/guide.md", "Guide\n=====\n")
    made.write("run.sh", "#!/bin/sh\necho hello\n").chmod(0o755)
    made.write(".gitignore", "build/\n*.log\n!keep.log\n")
    made.commit("base")
    mirror = Mirror(folder / "mirrors" / "project.git")
    mirror.create()
    mirror.fetch(made.path, "main")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    """A user's repository of the test's own."""
    return Project(shutil.copytree(template / "project", tmp_path / "project"))


@pytest.fixture
def mirror(template: Path, tmp_path: Path) -> Mirror:
    """Autopack's mirror, with the project's main branch fetched."""
    return Mirror(shutil.copytree(template / "mirrors" / "project.git", tmp_path / "mirrors" / "project.git"))


@pytest.fixture
def base(project: Project) -> str:
    """The commit that patches are made for."""
    return project.git("rev-parse", "main")


def build(mirror: Mirror, base: str, patch: bytes, **changes: Any) -> Candidate:
    """Build a candidate with plain values for whatever the test doesn't care about."""
    arguments: dict[str, Any] = {
        "rules": PatchRules(),
        "author": BUILDER,
        "message": "Change it",
        "trailers": [("Autopack-Run", "run1"), ("Autopack-Phase", "p1")],
        "timestamp": WHEN,
    }
    return build_candidate(mirror, patch=patch, base=base, **{**arguments, **changes})


def contents(mirror: Mirror) -> dict[str, object]:
    """Return everything in a mirror that could count: objects, refs, and what waits in quarantine."""
    folder = mirror.path
    return {
        "objects": sorted(str(path) for path in (folder / "objects").rglob("*") if path.is_file()),
        "refs": mirror.refs("refs"),
        "waiting": sorted(path.name for path in (folder / "autopack" / "quarantine").iterdir()),
    }


def new_file(name: str, content: str = "x\n", mode: str = "100644") -> bytes:
    """Return a patch that adds one file, as an agent could write it by hand."""
    lines = content.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    return (
        f"diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n"
        f"@@ -0,0 +1,{len(lines)} @@\n{body}"
    ).encode("utf-8", "surrogateescape")
