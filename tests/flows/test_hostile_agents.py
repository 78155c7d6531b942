"""A pull agent that means harm: figures out of measure, messages out of order, verdicts where none is wanted.

Real services, supervisor, git and gates; the test is the agent.
"""

from __future__ import annotations

import pytest

from autopack_site.kernel.errors import AutopackError
from integration import apply, merge
from runs import services, supervisor
from runs.errors import CategoryNotTaken, NoAudit, PhaseNotReady, StaleLease
from runs.figures import Figures
from runs.models import Attempt, Run, Transition
from runs.services import AuditResult, BuildResult, SuggestedPatch
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.test_caps import OUT, ask, begun, docs, end_lease, fail, used, what_broke
from tests.flows.world import World

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


def judge(run: Run, phase_id: str, verdict: str, *patches: SuggestedPatch, agent: str = "auditor") -> Attempt:
    result = AuditResult(verdict, "no", patches)
    return services.submit_audit_unleased(run.pk, phase_id, agent=agent, result=result)


# -- what is spent late


def test_a_cap_that_is_spent_late_ends_the_run_though_the_next_build_was_ready(world: World) -> None:
    """It waited for tokens that nobody could give back, until its claim deadline called that the environment's."""
    run = begun(world, {"run_token_cap": 300_000})
    lease = hand.claim(run, "one")
    end_lease(run)
    assert hand.phase_of(run, "one").ready_at is not None
    with pytest.raises(StaleLease):
        services.heartbeat(lease.lease_id, fence=lease.fence, figures=Figures(tokens=10**12))
    assert (what_broke(run)[0], run.failure_code) == (OUT, "run_token_cap")


def test_a_cap_that_a_sibling_spends_fails_the_phase_that_was_ready_beside_it(world: World) -> None:
    world.project(builder=None, ruleset=docs(tier_token_cap_multiplier=0.5))
    both = [{"phase_id": name, "task_category": "docs", "depends_on": ()} for name in ("one", "two")]
    run = world.start(world.plan(*both))
    fail(run, "one", used(190_000))
    two = hand.phase_of(run, "two")
    assert (two.state, two.failure_cause, two.failure_code) == ("FAILED", "budget", "tier_token_cap")


@pytest.mark.parametrize("phase_id", [None, "one"])
def test_an_envelope_that_is_spent_late_fails_the_audit_that_waits_to_be_claimed(
    world: World, phase_id: str | None
) -> None:
    run = begun(world, docs(audit_token_cap=5000, max_auditor_attempts=2))
    ask(run, "one")
    lease = services.claim_phase(run.pk, agent="auditor", kind="audit", phase_id="one")
    assert lease is not None
    end_lease(run)
    result = AuditResult("approve", "fine", usage=used(6000))
    with pytest.raises(StaleLease):
        services.submit_audit(lease.lease_id, fence=lease.fence, result=result)
    if phase_id is None:
        assert services.claim_phase(run.pk, agent="auditor", kind="audit") is None
    else:
        with pytest.raises(PhaseNotReady, match="audit_token_cap"):
            services.claim_phase(run.pk, agent="auditor", kind="audit", phase_id=phase_id)
    phase = hand.phase_of(run, "one")
    assert (phase.state, phase.failure_cause, phase.failure_code) == ("FAILED", "budget", "audit_token_cap")


@pytest.mark.parametrize("usd", [1e6 + 1, 1e9, 1e300])
def test_an_absurd_cost_meets_the_cap_and_is_not_taken_for_unknown(world: World, usd: float) -> None:
    run = begun(world, {"run_cost_cap_usd": 3})
    fail(run, "one", used(5, usd))
    assert (what_broke(run)[0], run.failure_code, run.cost_micro_usd) == (OUT, "run_cost_cap_usd", 10**12)


# -- verdicts where none is wanted


@pytest.mark.parametrize("verdict", ["revise", "escalate", "approve"])
def test_no_verdict_touches_a_candidate_that_is_landing(world: World, verdict: str) -> None:
    run = begun(world, {})
    landing = hand.green(run, "one")
    Attempt.objects.filter(pk=landing.pk).update(state=Attempt.State.MERGING)
    with pytest.raises(NoAudit):
        judge(run, "one", verdict)
    assert Attempt.objects.get(pk=landing.pk).state == "MERGING"
    assert hand.phase_of(run, "one").state in ("GATE", "CI_RUNNING")
    assert not Attempt.objects.filter(run=run, kind="audit").exists()


def test_a_patch_that_replaces_a_failed_build_takes_its_phase_out_of_the_queue_and_lands(
    world: World,
) -> None:
    """It was gated while the phase was queued, a builder could claim that beside it, and no merge was legal."""
    run = begun(world, docs(max_builder_attempts=3))
    fail(run, "one", used(5))
    assert hand.phase_of(run, "one").state == "QUEUED"
    judge(run, "one", "revise", SuggestedPatch("mine", hand.patch_of("one")))
    with pytest.raises(PhaseNotReady):
        services.claim_phase(run.pk, agent="builder", phase_id="one")
    patch = Attempt.objects.get(run=run, kind="audit_patch")
    apply.build(patch.pk)
    supervisor.step(run.pk)
    merge.merge(hand.pass_gate(Attempt.objects.get(pk=patch.pk)).pk)
    assert hand.phase_of(run, "one").state == "COMPLETE"


def test_a_verdict_on_a_patch_that_is_not_built_yet_leaves_the_phase_to_the_next_builder(
    world: World,
) -> None:
    """The patch was dropped and the phase stayed where it was, with nobody at it, until the run's time was over."""
    run = begun(world, docs(max_builder_attempts=3))
    lease = hand.claim(run, "one")
    result = BuildResult("success", hand.patch_of("one"))
    services.submit_build(lease.lease_id, fence=lease.fence, result=result)
    judge(run, "one", "revise")
    assert hand.phase_of(run, "one").state == "QUEUED"
    assert services.claim_phase(run.pk, agent="builder", phase_id="one") is not None


def test_an_auditor_judges_only_the_categories_that_it_is_declared_for(world: World) -> None:
    world.project(builder=None, auditors={"picky": {"kind": "pull", "categories": ["tests"]}})
    run = world.start(world.plan({"phase_id": "one", "task_category": "docs"}))
    ask(run, "one")
    with pytest.raises(CategoryNotTaken):
        judge(run, "one", "approve", agent="picky")
    assert Attempt.objects.get(run=run, kind="audit").state == "WANTED"


# -- messages out of order


def test_messages_of_one_attempt_in_any_order_book_its_highest_figure_once(world: World) -> None:
    run = begun(world, docs(max_builder_attempts=3))
    lease = hand.claim(run, "one")

    def beat(tokens: int) -> None:
        services.heartbeat(lease.lease_id, fence=lease.fence, figures=Figures(tokens=tokens))

    def hand_in(tokens: int) -> None:
        result = BuildResult("failed", b"", used(tokens))
        services.submit_build(lease.lease_id, fence=lease.fence, result=result)

    beat(300)
    hand_in(200)  # less than was said before
    for late, tokens in ((beat, 250), (hand_in, 200), (beat, 310), (hand_in, 305), (beat, 310)):
        with pytest.raises(StaleLease):
            late(tokens)
    run.refresh_from_db()
    assert (run.tokens_used, run.tokens_reserved, hand.phase_of(run, "one").tokens_used) == (310, 0, 310)
    assert Transition.objects.filter(run=run, event="late_result").count() == 1


def test_a_fence_that_was_made_up_moves_nothing_and_spends_nothing(world: World) -> None:
    run = begun(world, {})
    lease = hand.claim(run, "one")
    for fence in (0, lease.fence + 1, 10**12):
        with pytest.raises(StaleLease):
            services.heartbeat(lease.lease_id, fence=fence, figures=Figures(tokens=10**9))
        with pytest.raises(AutopackError):
            services.submit_build(
                lease.lease_id, fence=fence, result=BuildResult("success", b"x", used(10**9))
            )
    run.refresh_from_db()
    assert (run.tokens_used, Attempt.objects.get(run=run).state) == (0, "RUNNING")
    assert services.heartbeat(lease.lease_id, fence=lease.fence).budget.spent is None
