"""A no-op phase through the engine, from the builder's result to COMPLETE, for one run and for fifty at once.

Ours: gunicorn and Celery workers as separate processes, pull builders over HTTP that answer with a one-line
patch, a gate profile without steps (recorded as waived). The time is that of the rows: `submitted_at` to
`completed_at`. The floor, in `phase_floor`, does the same writes in raw SQL and the bare plumbing; what the median
phase takes above it is the engine's overhead.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agents import building
from benchmarks.measure import Row, percentile, row
from benchmarks.phase_floor import Floor, start
from benchmarks.stage import make_repository, processes, wait_until

AIM = "overhead < 100 ms"
FILES = 200
CONFIG = "version: 1\ndefault_branch: main\nbuilders:\n  outside: {kind: pull}\n"
# name, runs at once, phases a run, builders (a thread of the web process each while they wait)
SHAPES = (("1 run", 1, 10, 1), ("50 runs at once", 50, 1, 8))


@dataclass(frozen=True)
class Pass:
    """What one pass measured: seconds a phase, and whole seconds from the first claim to the last end."""

    overheads: list[float]
    wall_s: float


def run(folder: Path, passes: int) -> list[Row]:
    """Measure both shapes; return their rows."""
    from django.conf import settings

    from autopack_site.processes import process_table
    from runs.tokens import create_token
    from strategy.services import add_project

    source = make_repository(folder / "phase-project", FILES)
    project = add_project(
        "bench-phase", name="", source=str(source), config_text=CONFIG, is_default=False, by="benchmarks"
    )
    add_project(
        "bench-floor", name="", source=str(source), config_text=CONFIG, is_default=False, by="benchmarks"
    )
    token = create_token("builder", roles=["builder"])
    floor = Floor(folder, source)
    address = f"127.0.0.1:{_free_port()}"
    table = process_table(
        bind=address,
        web_workers=settings.WEB_WORKERS,
        web_threads=settings.WEB_THREADS,
        concurrency=settings.WORKER_CONCURRENCY,
    )
    rows = []
    with floor, processes(folder / "logs", [(program.label, program.argv) for program in table]):
        wait_until(lambda: _answers(address), limit_s=60, what="the web process answers")
        with building(address, token, project.project_id, 1):
            _ours("bench-warm", project.project_id, 1, 3)
        for name, runs, phases, builders in SHAPES:
            measured, floors = [], []
            with building(address, token, project.project_id, builders):
                for turn in range(passes):
                    key = f"{name.replace(' ', '-')}-{turn}"
                    floors.append(floor.measure(key, runs=runs, phases=phases, threads=builders))
                    measured.append(_ours(key, project.project_id, runs, phases))
            rows.append(_row(name, floors, measured))
    return rows


def _row(name: str, floors: Sequence[list[float]], measured: Sequence[Pass]) -> Row:
    every = [value for one in measured for value in one.overheads]
    median = percentile(every, 0.5)
    overhead = median - statistics.median(value for low in floors for value in low)
    rate = statistics.median(len(one.overheads) / one.wall_s for one in measured)
    return row(
        f"no-op phase, {name}",
        [(low, one.overheads) for low, one in zip(floors, measured, strict=True)],
        aim=AIM if name == "1 run" else "",
        extra={
            "p50_ms": round(median * 1e3, 1),
            "overhead_ms": round(overhead * 1e3, 1),
            "p95_ms": round(percentile(every, 0.95) * 1e3, 1),
            "phases_a_second": round(rate, 2),
        },
    )


def _ours(key: str, project_id: str, runs: int, phases: int) -> Pass:
    """Start the runs and wait for their ends; return what their rows say."""
    from runs.models import Attempt, Run

    names = [f"{key}-{number}" for number in range(runs)]
    for name in names:
        start(name, project_id, phases)
    mine = Run.objects.filter(pk__in=names)
    wait_until(
        lambda: not mine.filter(completed_at=None).exists(), limit_s=60 + runs * phases, what="the runs end"
    )
    if failed := mine.exclude(state="DONE_SUCCESS").first():
        raise RuntimeError(f"{failed.pk} ended {failed.state}: {failed.failure_reason}")
    attempts = Attempt.objects.filter(run__in=names, state="MERGED").select_related("phase")
    times = [(one.created_at, one.submitted_at, one.phase.completed_at) for one in attempts]
    if len(times) != runs * phases:
        raise RuntimeError(f"{len(times)} of {runs * phases} phases were merged")
    wall = max(end for _, _, end in times if end) - min(start for start, _, _ in times)
    return Pass(
        [(end - sent).total_seconds() for _, sent, end in times if sent and end], wall.total_seconds()
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            time.sleep(0.5)
            return True
    except OSError:
        return False
