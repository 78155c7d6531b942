"""The table of the fault campaign: each scenario adds its line to benchmarks/results/faults.json."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from runs.models import Run
from tests.flows.world import World

TABLE = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "faults.json"


def record(scenario: str, world: World, run: Run, *, injected: int, took_s: float | None = None) -> None:
    """Write down a scenario with what was counted on the branch in the user's repository.

    Only `make torture` asks for it, by AUTOPACK_RECORD_FAULTS=yes.
    """
    if os.environ.get("AUTOPACK_RECORD_FAULTS") != "yes":
        return
    lost, doubled = counted(world, run)
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"scenarios": {}}
    table["machine"] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }
    table["scenarios"][scenario] = {
        "injected": injected,
        "recovered": injected if Run.objects.get(pk=run.pk).is_terminal else 0,
        "lost": lost,
        "doubled": doubled,
        "command": " ".join(["pytest", *sys.argv[1:]]),
        "at": datetime.now(UTC).strftime("%Y-%m-%d"),
        **({} if took_s is None else {"took_s": round(took_s, 1)}),
    }
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n")


def counted(world: World, run: Run) -> tuple[int, int]:
    """Return how many phases that should be on the branch are not, and how many commits are one too many."""
    on_branch: Counter[str] = Counter()
    if world.git("branch", "--list", run.branch).strip():
        shape = "--format=%(trailers:key=Autopack-Phase,valueonly,separator=%x2C)"
        on_branch.update(world.git("log", shape, f"{world.base}..{run.branch}").splitlines())
    wanted = set(run.phases.exclude(state__in=["FAILED", "SKIPPED"]).values_list("phase_id", flat=True))
    lost = len(wanted - set(on_branch))
    return lost, on_branch.total() - len(wanted & set(on_branch))
