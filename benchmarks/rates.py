"""Requests a second with 8 and 32 connections against gunicorn, and 50 agents that claim at once.

`/health`, `GET /runs/{id}` and `record_issue` are asked by as many threads as connections, each with one kept
connection; their floor is as many threads, each with a database connection, that do the raw SQL of the same. `extra`
has requests a second and percentiles. The claims: fifty builders over HTTP, all claims distinct (asserted); their
floor is fifty connections that each take a row by SKIP LOCKED. Where there is a batch route, 100 reports a call are
measured too.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.agents import Caller
from benchmarks.many_issues import start_run
from benchmarks.measure import Row, Samples, percentile, row, seconds
from benchmarks.phase import _answers, _free_port
from benchmarks.raw import connect
from benchmarks.reads import _PHASES, _RUN, _TIERS
from benchmarks.record_issue import RawIssues
from benchmarks.stage import make_repository, processes, wait_until

CONNECTIONS = (8, 32)
AGENTS = 50
SPAN_S = 4.0
PROJECT = "bench-rates"
BATCH = 100
Call = Callable[[int], object]


def run(folder: Path, passes: int) -> list[Row]:
    """Serve, measure, end; return the rows."""
    from django.conf import settings

    from autopack_site.processes import process_table
    from runs.tokens import create_token
    from strategy.services import add_project

    source = make_repository(folder / "rates-project", 5)
    config = "version: 1\nbuilders:\n  outside: {kind: pull}\n"
    add_project(PROJECT, name="", source=str(source), config_text=config, is_default=False, by="benchmarks")
    token = create_token("bench", roles=["operator", "builder"])
    address = f"127.0.0.1:{_free_port()}"
    [web, *_] = process_table(
        bind=address,
        web_workers=settings.WEB_WORKERS,
        web_threads=max(settings.WEB_THREADS, AGENTS // max(settings.WEB_WORKERS, 1)),
        concurrency=settings.WORKER_CONCURRENCY,
    )
    with processes(folder / "logs", [(web.label, web.argv)]):
        wait_until(lambda: _answers(address), limit_s=60, what="the web process answers")
        rows = [measured for count in CONNECTIONS for measured in _rates(address, token, count, passes)]
        rows.append(_claims(address, token, passes))
    return rows


def _client() -> Any:
    from django.test import Client

    from runs.tokens import create_token

    token = create_token("starter", roles=["operator"])
    return Client(headers={"Authorization": f"Bearer {token}"}, SERVER_NAME="127.0.0.1")


def _rates(address: str, token: str, count: int, passes: int) -> list[Row]:
    """Measure each route with so many connections, each thread on a run of its own."""
    names = [f"rates-{count}-{number}" for number in range(count)]
    client = _client()
    for name in names:
        start_run(client, name, PROJECT)
    callers = [Caller(address, token) for _ in names]
    links = [connect() for _ in names]
    for link in links:
        link.autocommit = True
    cases: list[tuple[str, list[Call], list[Call]]] = [
        ("/health", [_sql(link, ("SELECT 1",)) for link in links], [_get(one, "/health") for one in callers]),
        (
            "GET /runs/{id}",
            [_sql(link, (_RUN, _TIERS, _PHASES), name) for link, name in zip(links, names, strict=True)],
            [_get(one, f"/runs/{name}") for one, name in zip(callers, names, strict=True)],
        ),
    ]
    floors = _raw_reporters(names)
    ours = [_report(one, name) for one, name in zip(callers, names, strict=True)]
    cases.append(("record_issue", [floor.record for floor in floors], ours))
    batch = f"/runs/{names[0]}/phases/p0/record_issues"
    if callers[0].post(batch, {"issues": []})[0] != 404:
        cases.append(
            ("record_issues, 100 a call", [_hundred(floor) for floor in floors],
             [_batch(one, name) for one, name in zip(callers, names, strict=True)])
        )  # fmt: skip
    rows = []
    for name, raw, own in cases:
        _together(raw, 0.3, 0), _together(own, 0.3, 0)
        samples: list[Samples] = []
        rates: tuple[list[float], list[float]] = ([], [])
        for turn in range(1, passes + 1):
            pair = [_together(side, SPAN_S, turn * 1_000_000) for side in (raw, own)]
            samples.append((pair[0], pair[1]))
            for side in (0, 1):
                rates[side].append(len(pair[side]) / SPAN_S)
        every = [one for _, own_times in samples for one in own_times]
        extra = {
            "per_s": round(statistics.median(rates[1]), 1),
            "floor_per_s": round(statistics.median(rates[0]), 1),
            "p50_ms": round(percentile(every, 0.5) * 1e3, 1),
            "p95_ms": round(percentile(every, 0.95) * 1e3, 1),
        }
        rows.append(row(f"{name}, {count} connections", samples, aim="requests a second", extra=extra))
    for floor in floors:
        floor.connection.close()
    for link in links:
        link.close()
    return rows


def _together(calls: Sequence[Call], span_s: float, first: int) -> list[float]:
    """Have every call repeated by a thread of its own for a time; return the seconds of each repeat."""
    taken: list[list[float]] = [[] for _ in calls]
    faults: list[BaseException] = []
    end = time.monotonic() + span_s

    def repeat(place: int) -> None:
        number = first
        try:
            while time.monotonic() < end:
                number += 1
                taken[place].append(seconds(calls[place], number))
        except BaseException as error:
            faults.append(error)

    _run_threads([lambda place=place: repeat(place) for place in range(len(calls))])
    if faults:
        raise faults[0]
    return [one for times in taken for one in times]


def _run_threads(jobs: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)


def _sql(link: Any, statements: tuple[str, ...], *parameters: str) -> Call:
    def read(_number: int) -> object:
        with link.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, parameters or None)
                cursor.fetchall()
        return None

    return read


def _get(caller: Caller, path: str) -> Call:
    def get(_number: int) -> object:
        status, answer = caller.get(path)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {answer}")
        return answer

    return get


def _sent(number: int) -> dict[str, Any]:
    return {
        "issue_key": f"ours-{number}", "severity": "minor", "source": "probe", "category": "style",
        "evidence_refs": ["src/a.py:12"],
    }  # fmt: skip


def _report(caller: Caller, run_id: str) -> Call:
    return _posting(caller, f"/runs/{run_id}/phases/p0/record_issue", _sent)


def _batch(caller: Caller, run_id: str) -> Call:
    def body(number: int) -> dict[str, Any]:
        return {"issues": [_sent(number * BATCH + one) for one in range(BATCH)]}

    return _posting(caller, f"/runs/{run_id}/phases/p0/record_issues", body)


def _posting(caller: Caller, path: str, body: Callable[[int], dict[str, Any]]) -> Call:
    def post(number: int) -> object:
        status, answer = caller.post(path, body(number))
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {json.dumps(answer)[:500]}")
        return answer

    return post


def _hundred(floor: RawIssues) -> Call:
    def record(number: int) -> object:
        for one in range(BATCH):
            floor.record(-(number * BATCH + one))
        return None

    return record


def _raw_reporters(names: Sequence[str]) -> list[RawIssues]:
    """Return the floor's reporters, each on a run and a connection of its own."""
    from runs.models import Phase

    phases = {
        phase.run_id: phase for phase in Phase.objects.select_related("run", "tier").filter(phase_id="p0")
    }
    return [RawIssues(phases[name]) for name in names]


_CLAIM = """
WITH chosen AS (
    SELECT id FROM bench_queue WHERE taken_by IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE bench_queue SET taken_by = %s, taken_at = now() FROM chosen WHERE bench_queue.id = chosen.id
RETURNING bench_queue.id
"""


def _claims(address: str, token: str, passes: int) -> Row:
    """Let fifty claim at once, each of another run's first phase."""
    client = _client()
    setup = connect()
    setup.autocommit = True
    with setup.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_queue (id serial PRIMARY KEY, taken_by text, taken_at timestamptz)"
        )
    callers = [Caller(address, token) for _ in range(AGENTS)]
    links = [connect() for _ in range(AGENTS)]
    samples: list[Samples] = []
    for turn in range(passes):
        _work_for(client, turn)
        with setup.cursor() as cursor:
            cursor.execute(
                "INSERT INTO bench_queue (taken_by) SELECT NULL FROM generate_series(1, %s)", [AGENTS]
            )
        samples.append(
            (_at_once([_take(link) for link in links]), _at_once([_claim(one) for one in callers]))
        )
    setup.close()
    for link in links:
        link.close()
    every = [one for _, own in samples for one in own]
    extra = {f"p{share}_ms": round(percentile(every, share / 100) * 1e3, 1) for share in (50, 95)}
    return row(f"claims, {AGENTS} agents at once", samples, aim="all distinct", extra=extra)


def _work_for(client: Any, turn: int) -> None:
    """Start fifty runs, and bring each to where its first phase is to be claimed."""
    from runs.models import Run
    from runs.supervisor import step

    names = [f"claims-{turn}-{number}" for number in range(AGENTS)]
    for name in names:
        start_run(client, name, PROJECT)
        step(name)
        if not Run.objects.filter(pk=name, state="PHASE_QUEUEING").exists():
            raise RuntimeError(f"{name} has no phase to be claimed after its first step")


def _at_once(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Make all calls at once; return the seconds of each. Raises unless each got something of its own."""
    barrier, taken = threading.Barrier(len(calls)), [0.0] * len(calls)
    got: list[object] = [None] * len(calls)

    def one(place: int) -> None:
        barrier.wait(60)
        started = time.perf_counter()
        got[place] = calls[place]()
        taken[place] = time.perf_counter() - started

    _run_threads([lambda place=place: one(place) for place in range(len(calls))])
    if None in got or len(set(got)) != len(calls):
        raise RuntimeError(f"{len(set(got) - {None})} distinct claims for {len(calls)} claimers")
    return taken


def _take(link: Any) -> Callable[[], object]:
    def take() -> object:
        with link, link.cursor() as cursor:
            cursor.execute(_CLAIM, ["agent"])
            return cursor.fetchone()[0]

    return take


def _claim(caller: Caller) -> Callable[[], object]:
    def claim() -> object:
        status, answer = caller.post("/claim", {"project_id": PROJECT, "kind": "build", "wait_s": 0})
        return (answer["run_id"], answer["phase_id"]) if status == 201 else None

    return claim
