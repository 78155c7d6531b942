"""Each cap by itself: what breaks it ends the run in the right state, with the cap named.

Real services, supervisor, git and gates; the test is the worker. Each row of the tables is one cap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integration import apply, merge
from issues.models import RunIndexEntry
from runs import ports, services, supervisor
from runs.budgets import Usage
from runs.errors import StaleLease
from runs.figures import Figures
from runs.lifecycle import PhaseState
from runs.models import Attempt, Lease, Run, TokenEntry
from runs.ports import IssueReport
from runs.promotion import is_eligible
from runs.services import AuditResult, BuildResult
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.world import World

pytestmark = pytest.mark.real
OUT = "DONE_FAILED_BUDGET_EXHAUSTED"
REVIEW = "DONE_FAILED_REQUIRES_HUMAN_REVIEW"
ONE_TIER = {"rules": [{"id": "narrow", "set": {"run_scope": "single_tier"}}]}
ONE, TWO = ({"phase_id": name, "task_category": "docs"} for name in ("one", "two"))
Act = Callable[[Run], None]


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


def begun(world: World, ruleset: dict[str, Any], **options: Any) -> Run:
    world.project(builder=None, ruleset=ruleset)
    run = world.start(world.plan(ONE, TWO), **options)
    supervisor.step(run.pk)
    return run


def docs(**limits: Any) -> dict[str, Any]:
    return {"category_defaults": {"docs": limits}}


def used(tokens: int = 0, usd: float = 0.0) -> Usage:
    return Usage(tokens, "reported", {"cost_usd": usd})


def land(run: Run, phase_id: str, usage: Usage) -> None:
    lease = hand.claim(run, phase_id)
    result = BuildResult("success", hand.patch_of(phase_id), usage)
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    apply.build(attempt.pk)
    merge.merge(hand.pass_gate(Attempt.objects.get(pk=attempt.pk)).pk)
    supervisor.step(run.pk)


def fail(run: Run, phase_id: str, usage: Usage) -> None:
    lease = hand.claim(run, phase_id)
    services.submit_build(lease.lease_id, fence=lease.fence, result=BuildResult("failed", b"", usage))
    supervisor.step(run.pk)


def ask(run: Run, phase_id: str) -> None:
    services.request_audit(run.pk, phase_id, by="tests", focus="general", profile=None, context=None)
    hand.green(run, phase_id)
    supervisor.step(run.pk)


def audit(run: Run, phase_id: str, usage: Usage, verdict: str = "revise") -> None:
    """Ask for an audit of what the phase builds next, build it, and decide."""
    ask(run, phase_id)
    result = AuditResult(verdict, "again", usage=usage)
    services.submit_audit_unleased(run.pk, phase_id, agent="auditor", result=result)
    supervisor.step(run.pk)


def end_lease(run: Run) -> None:
    Lease.objects.filter(run=run).update(expires_at="2020-01-01T00:00:00Z")
    supervisor.step(run.pk)


def spend(run: Run, phase_id: str, **figures: Any) -> None:
    """Report figures that spend a cap while the agent works, and let the grace pass."""
    lease = hand.claim(run, phase_id)
    budget = services.heartbeat(lease.lease_id, fence=lease.fence, figures=Figures(**figures)).budget
    assert budget.state == "spent"
    end_lease(run)


def landing(usage: Usage) -> Act:
    return lambda run: land(run, "one", usage)


def failing(usage: Usage) -> Act:
    return lambda run: fail(run, "one", usage)


def auditing(tokens: int) -> Act:
    """Have a first audit use tokens and refuse; the second is then not paid for."""

    def act(run: Run) -> None:
        audit(run, "one", used(tokens))
        ask(run, "one")

    return act


def auditing_both(run: Run) -> None:
    """Have the audit of one phase use so much of the tier's that the other's is not paid for."""
    audit(run, "one", used(70_000), "approve")
    merge.merge(Attempt.objects.get(phase=hand.phase_of(run, "one"), kind="build").pk)
    supervisor.step(run.pk)
    ask(run, "two")


def seeing(minor: int = 0, major: int = 0) -> Act:
    def act(run: Run) -> None:
        kinds = ["minor"] * minor + ["major"] * major
        found = [IssueReport(f"{kind}-{number}", kind, "probe", "odd") for number, kind in enumerate(kinds)]
        ports.ledger().record(hand.phase_of(run, "one").pk, found, reporter="tests")
        supervisor.step(run.pk)

    return act


def over_time(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(deadline_at="2020-01-01T00:00:00Z")
    supervisor.step(run.pk)


def gates(run: Run) -> None:
    hand.build(run, "one")
    supervisor.step(run.pk)


CAPS: list[tuple[str, dict[str, Any], Act, str]] = [
    # -- before: what is left must cover the next attempt
    ("run_token_cap", {"run_token_cap": 1000}, landing(used(900)), OUT),
    ("run_build_token_cap", {"run_build_token_cap": 90_000}, landing(used(50_000)), OUT),
    ("run_cost_cap_usd", {"run_cost_cap_usd": 3}, landing(used(5, 2.5)), OUT),
    ("tier_token_cap", docs(tier_token_cap_multiplier=0.5), landing(used(190_000)), OUT),
    ("tier_build_token_cap", docs(build_token_cap=80_000, tier_token_cap_multiplier=0.5), landing(used(70_000)), OUT),
    ("tier_cost_cap_usd", docs(incident_cost_cap_usd=2, tier_token_cap_multiplier=0.5), landing(used(5, 1.9)), OUT),
    ("incident_token_cap", {}, failing(used(200_000)), OUT),
    ("build_token_cap", docs(build_token_cap=70_000), failing(used(70_000)), OUT),
    ("incident_cost_cap_usd", docs(incident_cost_cap_usd=0.5), failing(used(5, 0.5)), OUT),
    ("tier_ci_run_cap", docs(tier_ci_run_cap_multiplier=0), gates, OUT),
    # -- audits have an envelope of their own, which builds can't use up
    ("audit_token_cap", docs(audit_token_cap=900, max_auditor_attempts=3), auditing(900), OUT),
    ("run_audit_token_cap", {"run_audit_token_cap": 70_000, **docs(max_auditor_attempts=3)},
     auditing(31_000), OUT),
    ("tier_audit_token_cap", docs(audit_token_cap=80_000, tier_token_cap_multiplier=0.5), auditing_both, OUT),
    # -- during
    ("max_attempt_tokens", docs(max_builder_attempts=1), lambda run: spend(run, "one", tokens=100_000), OUT),
    ("max_attempt_cost_usd", docs(incident_cost_cap_usd=2, max_builder_attempts=1),
     lambda run: spend(run, "one", tokens=5, cost_micro_usd=1_000_000), OUT),
    ("max_turns", docs(max_turns=4, max_builder_attempts=1), lambda run: spend(run, "one", tokens=5, turns=4), OUT),
    # -- what is counted, not spent
    ("run_max_minor_issues_total", {}, seeing(minor=9), OUT),
    ("tier_max_minor_issues_tolerated", ONE_TIER, seeing(minor=5), OUT),
    ("tier_max_major_issues_tolerated", ONE_TIER, seeing(major=1), OUT),
    ("major-issue", {"default_safety_profile": "safety_critical"}, seeing(major=1), REVIEW),
    ("run_max_duration_minutes", {}, over_time, OUT),
]  # fmt: skip


def what_broke(run: Run) -> tuple[str, set[str]]:
    run.refresh_from_db()
    return run.state, {run.failure_code, *run.phases.values_list("failure_code", flat=True)}


@pytest.mark.parametrize(("cap", "ruleset", "act", "state"), CAPS, ids=[row[0] for row in CAPS])
def test_each_cap_ends_the_run_in_its_state_and_is_named(
    world: World, cap: str, ruleset: dict[str, Any], act: Act, state: str
) -> None:
    run = begun(world, ruleset)
    act(run)
    for _ in range(3):  # the phase that is left, where the cap was one phase's
        run.refresh_from_db()
        if run.is_terminal:
            break
        phase = run.phases.exclude(state__in=["COMPLETE", "FAILED", "SKIPPED"]).earliest("phase_index")
        if phase.ready_at is None or phase.state != "QUEUED":
            break
        land(run, phase.phase_id, used())
    ended, codes = what_broke(run)
    assert (ended, cap in codes) == (state, True), (ended, codes)


def test_of_both_issue_caps_of_a_tier_the_major_one_is_named_and_says_its_count(world: World) -> None:
    run = begun(world, ONE_TIER)
    seeing(minor=5, major=2)(run)
    land(run, "one", used())
    land(run, "two", used())
    assert what_broke(run)[0] == OUT
    assert (run.failure_code, run.failure_reason) == (
        "tier_max_major_issues_tolerated",
        "Tier t1 is not clean and the run goes one tier at a time: 2 major issues, 0 are tolerated",
    )


def test_a_tier_that_was_skipped_whole_names_no_issue_cap(world: World) -> None:
    run = begun(world, ONE_TIER)
    for name in ("one", "two"):
        services.set_phase_state(run.pk, name, state=PhaseState.SKIPPED, by="tests", why="not today")
        supervisor.step(run.pk)
    assert (what_broke(run)[0], run.failure_code) == (REVIEW, "operator-skipped")


def test_audits_that_never_agree_are_exhausted_and_their_cap_is_named(world: World) -> None:
    run = begun(world, docs(max_builder_attempts=3, max_auditor_attempts=1))
    audit(run, "one", used(5))
    hand.green(run, "one")  # asked for once, the audit stays asked for
    phase = hand.phase_of(run, "one")
    assert (phase.failure_cause, phase.failure_code) == ("review", "audits-exhausted")
    assert phase.failure_reason == "All 1 audits are used (max_auditor_attempts)"


def test_attempts_end_in_the_state_of_what_failed_and_name_their_cap(world: World) -> None:
    run = begun(world, docs(max_builder_attempts=1, max_auditor_attempts=0))
    fail(run, "one", used(5))
    phase = hand.phase_of(run, "one")
    assert (phase.failure_cause, phase.failure_code) == ("review", "builder-failed")
    assert str(phase.failure_reason).endswith("(all 1 builder attempts are used: max_builder_attempts)")


def test_builds_can_not_use_up_what_is_the_audits(world: World) -> None:
    """The phase's tokens are 1,000; 300 are the auditors'. What builders spend over theirs is a breach of theirs."""
    limits = docs(
        incident_token_cap=1000, build_token_cap=700, max_builder_attempts=2, max_auditor_attempts=1
    )
    run = begun(world, limits)
    fail(run, "one", used(600))
    lease = hand.claim(run, "one")
    assert (lease.budget.cap, Attempt.objects.get(pk=lease.attempt_id).token_limit) == (
        100,
        "build_token_cap",
    )
    services.submit_build(lease.lease_id, fence=lease.fence, result=BuildResult("failed", b"", used(100)))
    phase = hand.phase_of(run, "one")
    assert (phase.tokens_used, phase.audit_tokens_used) == (700, 0)
    assert phase.failure_code == "builder-failed"  # there is no auditor to ask


def test_when_builders_have_spent_theirs_the_auditors_are_asked(world: World) -> None:
    world.project(
        builder=None,
        auditors={"reviewer": {"kind": "pull"}},
        ruleset=docs(
            incident_token_cap=1000, build_token_cap=500, max_builder_attempts=9, max_auditor_attempts=1
        ),
    )
    run = world.start(world.plan(ONE))
    fail(run, "one", used(500))
    phase = hand.phase_of(run, "one")
    assert (phase.state, phase.builder_attempts) == ("GATE", 1)
    lease = services.claim_phase(run.pk, agent="auditor", kind="audit")
    assert lease is not None
    assert lease.budget.cap == 100  # a share of the phase's tokens, of which 500 are left


def test_an_audit_draws_on_its_own_envelope_and_its_lines_say_so(world: World) -> None:
    run = begun(world, docs(audit_token_cap=5000))
    ask(run, "one")
    lease = services.claim_phase(run.pk, agent="auditor", kind="audit", phase_id="one")
    assert lease is not None
    result = AuditResult("approve", "fine", usage=used(700, 0.25))
    services.submit_audit(lease.lease_id, fence=lease.fence, result=result)
    phase = hand.phase_of(run, "one")
    run.refresh_from_db()
    for row in (phase, phase.tier, run):
        assert (row.audit_tokens_used, row.audit_tokens_reserved) == (700, 0)
        assert row.cost_micro_usd == 250_000
    lines = TokenEntry.objects.filter(run=run, envelope="audit").values_list("kind", "tokens", "micro_usd")
    assert list(lines) == [("reserve", 5000, 0), ("release", 5000, 0), ("settle", 700, 250_000)]


def test_an_agent_is_told_of_money_at_80_percent_and_stopped_at_the_whole(world: World) -> None:
    run = begun(world, docs(incident_cost_cap_usd=3))
    lease = hand.claim(run, "one")
    assert (lease.budget.cost_usd, lease.budget.cost_cap_usd) == (None, 1.0)
    told = []
    for usd in (0.79, 0.8, 1.0):
        figures = Figures(tokens=10, cost_micro_usd=round(usd * 1_000_000))
        budget = services.heartbeat(lease.lease_id, fence=lease.fence, figures=figures).budget
        told.append((budget.cost_usd, budget.state, budget.limit))
    assert told == [
        (0.79, "ok", None),
        (0.8, "nearly_spent", "max_attempt_cost_usd"),
        (1.0, "spent", "max_attempt_cost_usd"),
    ]
    event = run.transitions.get(event="budget_spent")
    assert event.why == "max_attempt_cost_usd: $1.00 of $1.00 are spent"
    # within the grace it hands in what it has, and that is kept
    result = BuildResult("success", hand.patch_of("one"), used(10, 1.0))
    assert services.submit_build(lease.lease_id, fence=lease.fence, result=result).state == "SUBMITTED"


def test_the_price_table_counts_where_an_agent_says_less_than_it_costs(world: World) -> None:
    """An agent that reports no cost, or too little, meets its cap all the same."""
    run = begun(world, docs(incident_cost_cap_usd=0.03))
    lease = hand.claim(run, "one")
    figures = Figures(
        input_tokens=2000, output_tokens=400, model="claude-sonnet-5-5-20260928", cost_micro_usd=1
    )
    budget = services.heartbeat(lease.lease_id, fence=lease.fence, figures=figures).budget
    # 2,000 x $2 + 400 x $10 a million
    assert (budget.cost_usd, budget.state) == (0.008, "nearly_spent")
    result = BuildResult("failed", b"", Usage(2400, "reported", {}))
    services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    attempt = Attempt.objects.get(pk=lease.attempt_id)
    assert (attempt.cost_usd, attempt.priced_usd) == (0.008, 0.008)
    assert attempt.usage["cost_usd"] == 0.000001


def test_a_ruleset_s_own_price_goes_before_the_published_one(world: World) -> None:
    own = {"model": "house-*", "from": "2026-01-01", "input_usd": 100, "output_usd": 0}
    run = begun(world, {"prices": [own], **docs(incident_cost_cap_usd=1)})
    fail(run, "one", Usage(1000, "reported", {"input_tokens": 1000, "output_tokens": 0, "model": "house-7b"}))
    assert hand.phase_of(run, "one").cost_micro_usd == 100_000


def test_what_nobody_knows_is_unknown_and_counts_nowhere(world: World) -> None:
    run = begun(world, docs(incident_cost_cap_usd=1))
    fail(
        run, "one", Usage(500, "reported", {"model": "nobody-knows", "input_tokens": 500, "output_tokens": 0})
    )
    attempt = Attempt.objects.get(run=run)
    assert (attempt.cost_micro_usd, attempt.priced_micro_usd) == (None, None)
    settled = TokenEntry.objects.get(attempt=attempt, kind="settle")
    assert (settled.tokens, settled.micro_usd) == (500, None)
    run.refresh_from_db()
    assert (run.tokens_used, run.cost_micro_usd, run.cost_reserved_micro_usd) == (500, 0, 0)


def test_money_that_is_reported_late_is_booked_and_stands_against_promotion(world: World) -> None:
    run = begun(world, {"run_cost_cap_usd": 2})
    lease = hand.claim(run, "one")
    end_lease(run)
    land(run, "one", used(5, 0.5))
    land(run, "two", used(5, 0.5))
    assert what_broke(run)[0] == "DONE_SUCCESS"
    with pytest.raises(StaleLease):
        services.heartbeat(
            lease.lease_id, fence=lease.fence, figures=Figures(tokens=9, cost_micro_usd=1_500_000)
        )
    run.refresh_from_db()
    assert (run.cost_micro_usd, run.cost_overrun) == (2_500_000, 500_000)
    eligible, reasons = is_eligible(run, list(run.tiers.all()))
    assert not eligible
    assert reasons == ["budget-failure: 19 of 5000000 tokens are used, $2.50 of $2.00"]


def test_an_unlimited_run_holds_nothing_and_is_stopped_by_no_token(world: World) -> None:
    run = begun(world, {"run_token_cap": "unlimited", **docs(incident_token_cap="unlimited")})
    lease = hand.claim(run, "one")
    assert lease.budget.cap is None
    result = BuildResult("success", hand.patch_of("one"), used(10**11))
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    apply.build(attempt.pk)
    merge.merge(hand.pass_gate(Attempt.objects.get(pk=attempt.pk)).pk)
    land(run, "two", used(10**11))
    assert what_broke(run)[0] == "DONE_SUCCESS"
    assert (run.token_cap, run.tokens_used, run.overrun) == (None, 2 * 10**11, 0)
    assert list(run.tiers.values_list("token_cap", flat=True)) == [None]
    assert not RunIndexEntry.objects.filter(run=run).exists()


def test_unlimited_money_and_turns_stop_nothing_at_work_or_after(world: World) -> None:
    limits = docs(incident_cost_cap_usd="unlimited", max_turns="unlimited")
    run = begun(world, {"run_cost_cap_usd": "unlimited", **limits})
    lease = hand.claim(run, "one")
    assert (lease.budget.turn_cap, lease.budget.cost_cap_usd) == (None, None)
    figures = Figures(turns=10**6, tokens=10, cost_micro_usd=900_000 * 10**6)
    told = services.heartbeat(lease.lease_id, fence=lease.fence, figures=figures).budget
    assert (told.state, told.limit, told.stop_by) == ("ok", None, None)
    result = BuildResult("success", hand.patch_of("one"), used(10, 900_000))
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    apply.build(attempt.pk)
    merge.merge(hand.pass_gate(Attempt.objects.get(pk=attempt.pk)).pk)
    land(run, "two", used(10, 900_000))
    assert what_broke(run)[0] == "DONE_SUCCESS"
    assert (run.cost_cap_micro_usd, run.cost_micro_usd, run.cost_overrun) == (None, 1_800_000 * 10**6, 0)
    assert is_eligible(run, list(run.tiers.all())) == (True, [])
