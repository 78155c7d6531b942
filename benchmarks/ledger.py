"""The ledger: one attempt's reservation and settlement however long the ledger is, and a race for the last tokens.

One attempt: under the run's row lock, reserve and settle, in a run whose ledger holds 0, 10,000 and 100,000 lines.
The floor does the same by raw SQL: lock, read the three rows of counters, two updates of the attempt, three lines,
twice the counters. The race: fifty connections at once for the seven shares that are left of a run; ours claim
(attempt, lease, brief and all), the floor's lock, check, insert a line and count. Both must give out exactly seven.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, Samples, alternating, row
from benchmarks.raw import Connection, connect
from benchmarks.stage import make_repository

LENGTHS = (0, 10_000, 100_000)
ROUNDS = 40
WORKERS = 50
SHARES = 7
SHARE = 1000
PROJECT = "bench-ledger"

_READ = (
    "SELECT r.token_cap, r.tokens_used, r.tokens_reserved, t.token_cap, t.tokens_used, t.tokens_reserved, p.limits, "
    "p.tokens_used, p.tokens_reserved FROM runs_phase p JOIN runs_tier t ON t.id = p.tier_id "
    "JOIN runs_run r ON r.run_id = p.run_id WHERE p.id = %s"
)
_LINE = (
    "INSERT INTO runs_tokenentry (run_id, tier_id, phase_id, attempt_id, kind, envelope, tokens, micro_usd, "
    "usage_source, reason, at) VALUES (%s, %s, %s, %s, %s, 'build', %s, 0, 'derived', 'bench', now())"
)
_MANY = (
    "INSERT INTO runs_tokenentry (run_id, tier_id, phase_id, kind, envelope, tokens, micro_usd, usage_source, "
    "reason, at) SELECT %s, %s, %s, 'adjust', 'build', 0, 0, 'reported', 'bench', now() FROM generate_series(1, %s)"
)
_COUNT = tuple(
    f"UPDATE {table} SET tokens_reserved = tokens_reserved + %s, tokens_used = tokens_used + %s WHERE {pk} = %s"
    for table, pk in (("runs_phase", "id"), ("runs_tier", "id"), ("runs_run", "run_id"))
)


def run(folder: Path, passes: int) -> list[Row]:
    """Measure both; return the rows."""
    from strategy.services import add_project

    source = make_repository(folder / "ledger-project", 5)
    config = "version: 1\nbuilders:\n  outside: {kind: pull}\n"
    add_project(PROJECT, name="", source=str(source), config_text=config, is_default=False, by="benchmarks")
    return [*_one_attempt(passes), _race(passes)]


def _one_attempt(passes: int) -> list[Row]:
    from runs.models import Phase

    link = connect()
    phase = Phase.objects.select_related("tier", "run").filter(run=_begun("ledger-one", 1)).get()
    attempts = [_attempt(phase, number) for number in range(1, 3 + 2 * passes * ROUNDS * len(LENGTHS))]
    rows, lines = [], 0
    for length in LENGTHS:
        with link.cursor() as cursor:
            cursor.execute(_MANY, [phase.run_id, phase.tier_id, phase.pk, length - lines])
            link.commit()
        lines = length
        measured = [
            alternating(
                lambda _number: _raw_attempt(link, phase, attempts.pop()),
                lambda _number: _our_attempt(phase, attempts.pop()),
                range(turn * ROUNDS, (turn + 1) * ROUNDS),
            )
            for turn in range(passes)
        ]
        rows.append(row(f"reserve and settle, {length:,} lines", measured, aim="flat"))
    link.close()
    return rows


def _our_attempt(phase: Any, attempt: Any) -> None:
    from django.db import transaction

    from runs import budgets, rows

    with transaction.atomic():
        run = rows.run_to_lock.first(phase.run_id)
        fresh = rows.phase_by_pk.first(phase.pk)
        if run is None or fresh is None:
            raise RuntimeError("the run is gone")
        attempt.phase = fresh
        budgets.reserve(attempt, budgets.reservation(run, fresh.tier, fresh, "build"))
        budgets.settle(attempt, budgets.Usage(0, "reported", {}), reason="bench")


def _raw_attempt(link: Connection, phase: Any, attempt: Any) -> None:
    keys = (phase.pk, phase.tier_id, phase.run_id)
    with link.cursor() as cursor:
        cursor.execute("SELECT run_id FROM runs_run WHERE run_id = %s FOR UPDATE", [phase.run_id])
        cursor.execute(_READ, [phase.pk])
        cursor.fetchone()
        cursor.execute(
            "UPDATE runs_attempt SET token_cap = %s, token_limit = 'max_attempt_tokens', tokens_reserved = %s "
            "WHERE id = %s",
            [SHARE, SHARE, attempt.pk],
        )
        for kinds, held in ((("reserve",), SHARE), (("release", "settle"), -SHARE)):
            for kind in kinds:
                tokens = 0 if kind == "settle" else SHARE
                cursor.execute(_LINE, [phase.run_id, phase.tier_id, phase.pk, attempt.pk, kind, tokens])
            for statement, key in zip(_COUNT, keys, strict=True):
                cursor.execute(statement, [held, 0, key])
        cursor.execute(
            "UPDATE runs_attempt SET tokens_reserved = 0, tokens_used = 0, usage_source = 'reported' WHERE id = %s",
            [attempt.pk],
        )
    link.commit()


def _race(passes: int) -> Row:
    measured: list[Samples] = []
    for turn in range(passes):
        taken: list[float] = []
        for side, claim in (("raw", _raw_claim), ("ours", _our_claim)):
            name = f"ledger-race-{side}-{turn}"
            run_id = _begun(name, WORKERS)
            began = time.perf_counter()
            got = _at_once(run_id, claim)
            taken.append(time.perf_counter() - began)
            if got != SHARES:
                raise RuntimeError(f"{side}: {got} shares were given out, {SHARES} are there")
        measured.append(([taken[0]], [taken[1]]))
    text = f"race of {WORKERS} for the last {SHARES} shares"
    return row(text, measured, aim=f"exactly {SHARES}", extra={"given_out": SHARES})


def _at_once(run_id: str, claim: Callable[[str, int], bool]) -> int:
    """Have every worker claim at the same moment on a connection of its own; return how many got a share."""
    from django.db import connections

    barrier, won, faults = threading.Barrier(WORKERS), [], []

    def work(number: int) -> None:
        try:
            barrier.wait(60)
            if claim(run_id, number):
                won.append(number)
        except BaseException as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return len(won)


def _our_claim(run_id: str, number: int) -> bool:
    from runs import services

    return services.claim_phase(run_id, agent=f"worker-{number}") is not None


def _raw_claim(run_id: str, number: int) -> bool:
    link = connect()
    try:
        with link.cursor() as cursor:
            cursor.execute(
                "SELECT token_cap - tokens_used - tokens_reserved FROM runs_run WHERE run_id = %s FOR UPDATE",
                [run_id],
            )
            [left] = cursor.fetchone() or [0]
            cursor.execute(
                "SELECT id, tier_id FROM runs_phase WHERE run_id = %s AND state = 'QUEUED' AND ready_at IS NOT NULL "
                "ORDER BY phase_index LIMIT 1",
                [run_id],
            )
            found = cursor.fetchone()
            if left < SHARE or found is None:
                link.rollback()
                return False
            cursor.execute("UPDATE runs_phase SET state = 'EXECUTING' WHERE id = %s", [found[0]])
            cursor.execute(_LINE, [run_id, found[1], found[0], None, "reserve", SHARE])
            for statement, key in zip(_COUNT, (*found, run_id), strict=True):
                cursor.execute(statement, [SHARE, 0, key])
        link.commit()
        return True
    finally:
        link.close()


def _begun(name: str, phases: int) -> str:
    """Start a run of free phases, whose tokens are enough for SHARES attempts; return its id."""
    from runs import supervisor
    from runs.models import Phase, Run, Tier
    from runs.services import start_run
    from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec

    specs = tuple(
        PhaseSpec(f"p{number}", "t1", number, f"Phase {number}", task_category="docs", depends_on=())
        for number in range(phases)
    )
    plan, options = Plan((TierSpec("t1", 0, "Tier"),), specs), RunOptions(max_phases=phases)
    run = start_run(name, project_id=PROJECT, plan=plan, options=options, by="benchmarks")
    limits = {
        **run.phases.earliest("pk").limits,
        "max_attempt_tokens": SHARE,
        "incident_token_cap": 10 * SHARE,
    }
    Phase.objects.filter(run=run).update(limits=limits)
    Tier.objects.filter(run=run).update(token_cap=1000 * SHARE)
    Run.objects.filter(pk=run.pk).update(token_cap=SHARES * SHARE)
    supervisor.step(run.pk)
    if Phase.objects.filter(run=run, ready_at=None).exists():
        raise RuntimeError(f"{name} has phases that are not ready")
    return str(run.pk)


def _attempt(phase: Any, number: int) -> Any:
    from django.utils import timezone

    from runs.models import Attempt

    return Attempt.objects.create(
        run_id=phase.run_id,
        phase=phase,
        kind="build",
        number=number,
        state="FAILED",
        created_at=timezone.now(),
    )
