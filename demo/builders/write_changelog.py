"""Builder: head the changelog with what the commits since the release changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from task import Task, finish

CHANGELOG = Path("CHANGELOG.md")
HEADING = "## Unreleased"


def commits() -> list[tuple[str, list[str]]]:
    """Return (subject, files) of the commits after the first one of the history at hand, oldest first."""
    argv = ["git", "log", "--reverse", "--no-renames", "--name-only", "--format=%x00%s"]
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    entries = [entry.strip().splitlines() for entry in text.split("\0") if entry.strip()]
    return [(lines[0], [name for name in lines[1:] if name]) for lines in entries[1:]]


def entry(subject: str, files: list[str]) -> str:
    """Return one line of the changelog."""
    shown = ", ".join(f"`{name}`" for name in files[:3])
    return f"- {subject} ({shown}{', ...' if len(files) > 3 else ''})"


def main() -> None:
    """Write the section, or rewrite the one that is there."""
    task = Task.read()
    rows = [entry(subject, files) for subject, files in commits()]
    before = CHANGELOG.read_text(encoding="utf-8") if CHANGELOG.is_file() else ""
    if before.startswith(HEADING):
        rest = before[len(HEADING) :]
        before = rest[rest.index("\n## ") + 1 :] if "\n## " in rest else ""
    CHANGELOG.write_text("\n".join([HEADING, "", *rows, "", before]), encoding="utf-8")
    finish(f"{task.name}: {len(rows)} entries")


if __name__ == "__main__":
    main()
