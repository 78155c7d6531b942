"""What every builder of the demo shares: its task, the files that it may change, and the result it leaves.

A builder is any program. It sees a checkout (its working directory) and a brief, and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

LINE_LENGTH = 120


@dataclass(frozen=True)
class Task:
    """The brief, as far as these builders use it. `scope` is a list of path globs; empty allows all."""

    name: str
    scope: tuple[str, ...]
    notes: str
    failures: tuple[dict[str, Any], ...]
    base_commit: str

    @classmethod
    def read(cls) -> Task:
        """Read the file that AUTOPACK_BRIEF names."""
        brief = json.loads(Path(os.environ["AUTOPACK_BRIEF"]).read_text(encoding="utf-8"))
        return cls(
            name=brief["phase"]["name"],
            scope=tuple(brief["scope"]),
            notes=brief["notes"],
            failures=tuple(brief["previous"]),
            base_commit=brief["base_commit"],
        )

    def allows(self, path: str) -> bool:
        """Tell whether the scope lets the builder change path (relative to the checkout)."""
        return not self.scope or any(_matches(PurePosixPath(path), glob) for glob in self.scope)

    def sources(self, *, tests: bool = True) -> list[Path]:
        """Return the Python files of the checkout that the scope allows, sorted."""
        files = [path for path in sorted(Path().rglob("*.py")) if not path.is_symlink()]
        return [
            path
            for path in files
            if self.allows(path.as_posix()) and (tests or not path.name.startswith("test"))
        ]


def _matches(path: PurePosixPath, glob: str) -> bool:
    folder, found, rest = glob.partition("**")
    if found:
        inside = path.as_posix().startswith(folder)
        return inside and (rest in ("", "/*") or path.match(rest.lstrip("/")))
    return path.match(glob) and path.parent == PurePosixPath(glob).parent


def run_ruff(files: list[Path], *options: str) -> str:
    """Let ruff rewrite files by rules given in options; return its one-line account of what it fixed."""
    if not files:
        return "no file is in scope"
    argv = [
        sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--fix", "--exit-zero",
        "--output-format", "concise",
        "--quiet", "--show-fixes", "--line-length", str(LINE_LENGTH), *options, "--", *map(str, files),
    ]  # fmt: skip
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    for line in lines:
        print(line)
    return next((line.rstrip(":") for line in lines if line.startswith("Fixed")), "nothing to fix")


def finish(notes: str, *, status: str = "success", issues: list[dict[str, Any]] | None = None) -> None:
    """Leave the result. These builders ask no model, so they know that they used no tokens."""
    print(notes)
    result = {"status": status, "tokens_used": 0, "notes": notes, "suggested_issues": issues or []}
    Path(os.environ["AUTOPACK_RESULT"]).write_text(json.dumps(result), encoding="utf-8")
