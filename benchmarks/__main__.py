"""`python -m benchmarks [NAME ...]`: run the benchmarks and write down what they measured.

It needs PostgreSQL and Redis: `make bench` starts private ones. NAME is one of apply, start, record_issue,
phase; none runs all. Results of benchmarks that were not run stay as they were.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.report import Results
from benchmarks.stage import NotReady, stage

NAMES = ("apply", "start", "record_issue", "phase")
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
    results = Results.read(RESULTS / "latest.json")
    try:
        with stage() as folder:
            for name in chosen.names or NAMES:
                rows = importlib.import_module(f"benchmarks.{name}").run(folder, chosen.passes)
                results.put(name, rows, machine=machine())
                for row in rows:
                    print(
                        f"{row.name}: x {row.ratio} ({row.ours_ms} ms, floor {row.floor_ms} ms) {row.extra or ''}"
                    )
    except NotReady as error:
        print(error, file=sys.stderr)
        return 2
    if not chosen.no_save:
        results.write(RESULTS)
        print(f"written to {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
