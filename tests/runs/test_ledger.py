"""The ledger of tokens: its lines are the balance, none is below zero, no race gives out more than there is."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.migrations import RunSQL
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autopack_site.kernel import clock
from runs import budgets, meters, services, supervisor
from runs.budgets import Usage
from runs.models import Attempt, Phase, Run, Tier, TokenEntry
from runs.services import BuildResult, Claim
from tests.factories import make_run

SHARE = 1000
WORKERS = 50
EMPTY = BuildResult("failed", b"", Usage(400, "reported", {}))


def ready(run: Run, **limits: float) -> Run:
    """Let every phase be claimed at once, each attempt holding a share of the phase's cap."""
    for phase in run.phases.all():
        phase.limits = {
            **phase.limits,
            "max_attempt_tokens": SHARE,
            "incident_token_cap": 10 * SHARE,
            **limits,
        }
        phase.depends_on = []
        phase.save(update_fields=["limits", "depends_on"])
    supervisor.step(run.pk)
    assert not run.phases.filter(ready_at=None, tier__tier_index=0).exists()
    return run


def race(run: Run) -> list[Claim]:
    """Let fifty workers claim at the same moment, each on a connection of its own; return what they got."""
    start, got, faults = threading.Barrier(WORKERS), [], []

    def work(number: int) -> None:
        try:
            connection.ensure_connection()
            start.wait(60)
            claim = services.claim_phase(run.pk, agent=f"worker-{number}")
            if claim is not None:
                got.append(claim)
        except BaseException as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert faults == []
    return got


@pytest.mark.django_db(transaction=True)
def test_fifty_workers_race_for_the_last_tokens_and_exactly_those_are_given_out() -> None:
    run = ready(make_run(phases_per_tier=WORKERS, token_cap=7 * SHARE))
    Tier.objects.update(token_cap=100 * SHARE)
    claims = race(run)
    run.refresh_from_db()
    assert len(claims) == 7
    assert (run.tokens_reserved, run.tokens_used) == (run.token_cap, 0)
    assert len({claim.phase_id for claim in claims}) == 7
    # what comes back is given out again: 4,200 are left, four shares
    for claim in claims:
        services.submit_build(claim.lease_id, fence=claim.fence, result=EMPTY)
    run.refresh_from_db()
    assert (run.tokens_reserved, run.tokens_used) == (0, 2800)
    assert len(race(run)) == 4
    run.refresh_from_db()
    assert (run.tokens_reserved, run.tokens_used) == (4 * SHARE, 2800)


@pytest.mark.django_db(transaction=True)
def test_the_tier_s_last_tokens_are_raced_for_as_the_run_s() -> None:
    run = ready(make_run(phases_per_tier=WORKERS, token_cap=100 * SHARE))
    Tier.objects.update(token_cap=3 * SHARE)
    assert len(race(run)) == 3
    assert Tier.objects.get().tokens_reserved == 3 * SHARE


# -- lines and balance -----------------------------------------------------------------------------------------

_USD = st.none() | st.integers(0, 3_000_000)
_STEP = st.one_of(
    st.tuples(st.just("start"), st.integers(0, 2), st.sampled_from(["build", "audit"])),
    st.tuples(st.just("settle"), st.integers(0, 9), st.none() | st.integers(0, 3 * SHARE), _USD),
    st.tuples(st.just("late"), st.integers(0, 9), st.none() | st.integers(0, 5 * SHARE), _USD),
    st.tuples(st.just("set"), st.integers(0, 2), st.integers(0, 9 * SHARE)),
)


class Book:
    """The ledger and a plain account of the same, step by step."""

    def __init__(self, phases: list[Phase]) -> None:
        self.phases = phases
        self.open: list[Attempt] = []
        self.closed: list[Attempt] = []
        self.used = {phase.pk: 0 for phase in phases}
        self.audits = {phase.pk: 0 for phase in phases}
        self.money = {phase.pk: 0 for phase in phases}
        self.silent = 0

    def do(self, step: tuple[Any, ...]) -> None:
        kind, place, *rest = step
        if kind == "start":
            self._start(Phase.objects.select_related("run", "tier").get(pk=self.phases[place].pk), rest[0])
        elif kind == "set":
            phase = Phase.objects.get(pk=self.phases[place].pk)
            budgets.adjust(phase, rest[0], reason="by hand")
            self.used[phase.pk] = rest[0]
            # what is less than builders have used was the auditors'
            self.audits[phase.pk] = min(self.audits[phase.pk], rest[0])
        elif kind == "settle" and self.open:
            attempt = self.open.pop(place % len(self.open))
            source = "unknown" if rest[0] is None else "reported"
            budgets.settle(attempt, usage_of(rest[0], source, rest[1]), reason="ended")
            self._book(attempt, rest[0] or 0, rest[1] or 0)
            self.silent += rest[0] is None
            self.closed.append(attempt)
        elif kind == "late" and self.closed:
            attempt = self.closed[place % len(self.closed)]
            tokens, money = attempt.tokens_used or 0, attempt.cost_micro_usd or 0
            meters.book_late(attempt, usage_of(rest[0], "reported", rest[1]))
            self._book(attempt, max((rest[0] or 0) - tokens, 0), max((rest[1] or 0) - money, 0))

    def _book(self, attempt: Attempt, tokens: int, micro_usd: int) -> None:
        self.used[attempt.phase_id] += tokens
        self.audits[attempt.phase_id] += tokens if attempt.kind == "audit" else 0
        self.money[attempt.phase_id] += micro_usd

    def _start(self, phase: Phase, kind: Any) -> None:
        held = budgets.reservation(phase.run, phase.tier, phase, kind)
        number = phase.attempts.count() + 1
        attempt = Attempt.objects.create(
            run_id=phase.run_id,
            phase=phase,
            kind=kind,
            number=number,
            state="FAILED",
            created_at=clock.now(),
        )
        budgets.reserve(attempt, held)
        self.open.append(attempt)

    def agrees(self) -> None:
        """Compare lines, counters at each level and the account."""
        held = {phase.pk: 0 for phase in self.phases}
        by_auditors, dollars = dict(held), dict(held)
        for attempt in self.open:
            held[attempt.phase_id] += attempt.tokens_reserved
            by_auditors[attempt.phase_id] += attempt.tokens_reserved if attempt.kind == "audit" else 0
            dollars[attempt.phase_id] += attempt.cost_reserved_micro_usd
        self._lines_agree(by_auditors, dollars)
        for phase in Phase.objects.all():
            lines = dict(
                TokenEntry.objects.filter(phase=phase).order_by().values_list("kind").annotate(Sum("tokens"))
            )
            reserved = (lines.get("reserve") or 0) - (lines.get("release") or 0)
            used = (lines.get("settle") or 0) + (lines.get("adjust") or 0)
            assert (phase.tokens_reserved, phase.tokens_used) == (reserved, used)
            assert (reserved, used) == (held[phase.pk], self.used[phase.pk])
            assert reserved >= 0
            assert used >= 0
        for tier in Tier.objects.all():
            mine = [phase.pk for phase in self.phases if phase.tier_id == tier.pk]
            assert tier.tokens_reserved == sum(held[pk] for pk in mine)
            assert tier.tokens_used == sum(self.used[pk] for pk in mine)
        run = Run.objects.get()
        assert (run.tokens_reserved, run.tokens_used) == (sum(held.values()), sum(self.used.values()))
        assert (run.audit_tokens_reserved, run.audit_tokens_used) == (
            sum(by_auditors.values()),
            sum(self.audits.values()),
        )
        assert (run.cost_reserved_micro_usd, run.cost_micro_usd) == (
            sum(dollars.values()),
            sum(self.money.values()),
        )
        # who did not say what was used has a line without a figure, never one of 0
        assert TokenEntry.objects.filter(kind="settle", tokens=None).count() == self.silent

    def _lines_agree(self, by_auditors: dict[int, int], dollars: dict[int, int]) -> None:
        """Compare the auditors' lines, and all lines' money, with the counters of phases and the account."""
        for phase in Phase.objects.all():
            lines = TokenEntry.objects.filter(phase=phase).order_by().values_list("kind")
            tokens = dict(lines.filter(envelope="audit").annotate(Sum("tokens")))
            money = dict(lines.annotate(Sum("micro_usd")))
            for found, reserved, used, account in (
                (tokens, phase.audit_tokens_reserved, phase.audit_tokens_used,
                 (by_auditors[phase.pk], self.audits[phase.pk])),
                (money, phase.cost_reserved_micro_usd, phase.cost_micro_usd,
                 (dollars[phase.pk], self.money[phase.pk])),
            ):  # fmt: skip
                assert reserved == (found.get("reserve") or 0) - (found.get("release") or 0)
                assert used == (found.get("settle") or 0) + (found.get("adjust") or 0)
                assert (reserved, used) == account
                assert min(reserved, used) >= 0


def usage_of(tokens: int | None, source: str, micro_usd: int | None) -> Usage:
    return Usage(tokens, source, {} if micro_usd is None else {"cost_usd": micro_usd / 1_000_000})


def check(examples: int) -> None:
    run = ready(make_run(tiers=2, phases_per_tier=2), incident_cost_cap_usd=9, max_attempt_cost_usd=1.25)
    phases = list(run.phases.order_by("phase_index"))[:3]

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_STEP, min_size=1, max_size=10))
    def holds(steps: list[tuple[Any, ...]]) -> None:
        with transaction.atomic():
            book = Book([*phases, *Phase.objects.exclude(pk__in=[phase.pk for phase in phases])])
            for step in steps:
                book.do(step)
            book.agrees()
            transaction.set_rollback(True)

    holds()


@pytest.mark.django_db
def test_the_lines_are_the_balance_and_nothing_is_lost_or_below_zero() -> None:
    check(500)


@pytest.mark.torture
@pytest.mark.django_db
def test_the_lines_are_the_balance_ten_thousand_times() -> None:
    check(10_000)


@pytest.mark.django_db
def test_a_claim_reads_the_balance_and_never_the_ledger() -> None:
    costs = []
    for lines in (0, 300):
        run = ready(make_run(phases_per_tier=2))
        phase = run.phases.earliest("phase_index")
        for number in range(lines):
            budgets.adjust(phase, number % 7, reason="by hand")
        with CaptureQueriesContext(connection) as captured:
            assert services.claim_phase(run.pk, agent="a") is not None
        reads = [
            q["sql"]
            for q in captured
            if "runs_tokenentry" in q["sql"]
            and "put_runs_tokenentry" not in q["sql"]
            and "INSERT" not in q["sql"]
        ]
        assert reads == []
        costs.append(len(captured))
    assert costs[0] == costs[1]


@pytest.mark.django_db
def test_the_migration_reckons_the_counters_from_the_lines_as_they_were_counted() -> None:
    run = ready(make_run(tiers=2, phases_per_tier=2), incident_cost_cap_usd=9, max_attempt_cost_usd=1.25)
    book = Book(list(run.phases.order_by("phase_index")))
    for step in (
        ("start", 0, "build"), ("start", 0, "audit"), ("start", 3, "audit"), ("settle", 1, 700, 250_000),
        ("settle", 0, 40, None), ("late", 0, 900, 300_000), ("start", 2, "audit"),
    ):  # fmt: skip
        book.do(step)

    def counters() -> list[Any]:
        names = ("audit_tokens_used", "audit_tokens_reserved", "cost_micro_usd")
        return [list(model.objects.order_by("pk").values_list(*names)) for model in (Run, Tier, Phase)]

    before, costs = counters(), list(Attempt.objects.order_by("pk").values_list("cost_micro_usd", flat=True))
    assert before[0] == [(900, 2 * SHARE, 300_000)]
    for model in (Run, Tier, Phase):
        model.objects.update(audit_tokens_used=0, audit_tokens_reserved=0, cost_micro_usd=0)
    Attempt.objects.update(cost_micro_usd=None)
    migration = import_module("runs.migrations.0006_envelopes_and_money").Migration
    with connection.cursor() as cursor:
        for operation in migration.operations:
            if isinstance(operation, RunSQL):
                cursor.execute(str(operation.sql))
    assert counters() == before
    assert list(Attempt.objects.order_by("pk").values_list("cost_micro_usd", flat=True)) == costs
