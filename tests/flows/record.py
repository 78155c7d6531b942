"""The table of the fault campaign: each scenario adds its line to benchmarks/results/faults.json."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "faults.json"
COMMAND = "make torture"


def record(
    scenario: str, *, injected: int, recovered: int | None = None, took_s: float | None = None
) -> None:
    """Write down a scenario that passed its assertions: what is lost or doubled would have failed before.

    Only the long campaign asks for it (AUTOPACK_RECORD_FAULTS names nothing else than "yes").
    """
    if os.environ.get("AUTOPACK_RECORD_FAULTS") != "yes":
        return
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"scenarios": {}}
    table["command"] = COMMAND
    table["machine"] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    table["scenarios"][scenario] = {
        "injected": injected,
        "recovered": injected if recovered is None else recovered,
        "lost": 0,
        "doubled": 0,
        "at": datetime.now(UTC).strftime("%Y-%m-%d"),
        **({} if took_s is None else {"took_s": round(took_s, 1)}),
    }
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n")
