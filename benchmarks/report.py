"""The results as files: `latest.json` for programs, `README.md` for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

COMMAND = "make bench"
HEAD = f"""# What was measured

By `{COMMAND}` (one benchmark: `python manage.py services --private -- python -m benchmarks NAME`). Every figure is
the median of interleaved passes, floor and ours in turn, on a machine that others used at the time: the ratio holds,
the milliseconds are of that hour. Nothing here is asserted; what must not grow with data is asserted by the tests, of
query counts and plans. PostgreSQL and Redis are private ones on the same machine, and durability is off.

| benchmark | ours ms | floor ms | ratio | passes | aim |
|---|---:|---:|---:|---|---|
"""


class Results:
    """What each benchmark measured last."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self.entries = entries

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return what the file holds; nothing where there is none."""
        return cls(json.loads(path.read_text()) if path.exists() else {})

    def put(self, name: str, rows: Sequence[Row], *, machine: str) -> None:
        """Take over a benchmark's rows."""
        self.entries[name] = {
            "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "machine": machine,
            "rows": [asdict(row) for row in rows],
        }

    def write(self, folder: Path) -> None:
        """Write both files."""
        folder.mkdir(exist_ok=True)
        (folder / "latest.json").write_text(json.dumps(self.entries, indent=2, sort_keys=True) + "\n")
        (folder / "README.md").write_text(self.as_markdown())

    def as_markdown(self) -> str:
        """Return the table, and below it what else was measured and where."""
        table, below = [HEAD], ["\n"]
        for name, entry in sorted(self.entries.items()):
            for row in entry["rows"]:
                passes = " ".join(f"{ratio:.2f}" for ratio in row["passes"])
                table.append(
                    f"| {row['name']} | {row['ours_ms']:.1f} | {row['floor_ms']:.1f} | {row['ratio']:.2f} | {passes}"
                    f" | {row['aim']} |\n"
                )
                if row["extra"]:
                    more = ", ".join(f"{key} {value:g}" for key, value in row["extra"].items())
                    below.append(f"- {row['name']}: {more}\n")
            below.append(f"- `{name}`: {entry['measured_at']}, {entry['machine']}\n")
        return "".join((*table, *below))
