"""`python -m benchmarks [NAME ...]`: run the benchmarks and write down what they measured.

It needs PostgreSQL and Redis: `make bench` starts private ones. NAME is one of apply, start, record_issue, reads,
phase, sweep, lists, rates, dryrun, replay, ledger; none runs all. Results of benchmarks that were not run stay as
they were.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.report import Results
from benchmarks.stage import NotReady, python, stage

NAMES = (
    "apply",
    "start",
    "record_issue",
    "reads",
    "phase",
    "sweep",
    "lists",
    "rates",
    "dryrun",
    "replay",
    "ledger",
)
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what was asked for; return the exit status."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    options.add_argument("--passes", type=int, default=5, help="interleaved passes (5)")
    options.add_argument("--no-save", action="store_true", help="print only; leave results/ alone")
    chosen = options.parse_args()
    if unknown := sorted(set(chosen.names) - set(NAMES)):
        options.error(f"no such benchmark: {', '.join(unknown)}")
    names = chosen.names or NAMES
    rest = [f"--passes={chosen.passes}", *(["--no-save"] if chosen.no_save else [])]
    if len(names) > 1:  # a process, a database and a queue each: one's leftovers are not another's load
        statuses = [subprocess.run(python("-m", "benchmarks", name, *rest)).returncode for name in names]
        return 1 if any(statuses) else 0  # a negative one was ended by a signal
    try:
        return _measure(names[0], passes=chosen.passes, save=not chosen.no_save)
    except NotReady as error:
        print(error, file=sys.stderr)
        return 2


def _measure(name: str, *, passes: int, save: bool) -> int:
    with stage() as folder:
        rows = importlib.import_module(f"benchmarks.{name}").run(folder, passes)
    for row in rows:
        print(f"{row.name}: x {row.ratio} ({row.ours_ms} ms, floor {row.floor_ms} ms) {row.extra or ''}")
    if save:
        results = Results.read(RESULTS / "latest.json")
        results.put(name, rows, machine=machine())
        results.write(RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
