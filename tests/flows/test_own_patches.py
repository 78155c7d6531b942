"""Nobody approves a patch of their own where an audit is required, whichever role it was written in."""

from __future__ import annotations

from typing import Any

import pytest

from autopack_site.kernel.errors import Invalid
from integration import apply, merge
from runs import services, supervisor
from runs.agents import serving
from runs.authorship import barred_from_open
from runs.errors import OwnPatch
from runs.models import Attempt, Phase, Run
from runs.services import AuditResult, Claim, SuggestedPatch
from runs.tokens import TOKENLESS, create_token
from tests.flows import hand
from tests.flows.world import World

pytestmark = [pytest.mark.real]
GATE = [{"name": "unit", "argv": ["/bin/sh", "-c", "ls"]}]
RISKY = {"phase_id": "one", "task_category": "security_auth"}
APPROVE = AuditResult(verdict="approve", notes="fine")
REVISE = AuditResult(
    verdict="revise",
    notes="like this",
    patches=(SuggestedPatch("the fix", hand.patch_of("fixed")),),
)


def begin(world: World, *auditors: str, kind: str = "pull", category: str = "security_auth") -> Run:
    argv = {"argv": ["/bin/true"]} if kind == "command" else {}
    declared: dict[str, Any] = (
        {"auditors": {name: {"kind": kind, **argv} for name in auditors}} if auditors else {}
    )
    world.project(builder=None, gate=GATE, **declared)
    return world.start(world.plan({**RISKY, "task_category": category}))


def audit_claim(run: Run, agent: str) -> Claim:
    found = services.claim_phase(run.pk, agent=agent, kind="audit")
    assert found is not None
    return found


def revised(run: Run, by: str) -> Attempt:
    """Return the patch that `by` suggested in place of the build's, with its green gate behind it."""
    hand.green(run, "one")
    services.submit_audit_unleased(run.pk, "one", agent=by, result=REVISE)
    patch = Attempt.objects.get(run=run, kind="audit_patch")
    apply.build(patch.pk)
    return hand.pass_gate(patch)


def land(world: World, run: Run, attempt: Attempt) -> None:
    merge.merge(attempt.pk)
    assert Run.objects.get(pk=run.pk).state == "DONE_SUCCESS", world.history(run)


def test_an_auditors_own_patch_waits_for_another_auditor(world: World) -> None:
    run = begin(world)
    patch = revised(run, "first")
    merge.merge(patch.pk)  # a message too many
    patch.refresh_from_db()
    assert patch.state == "GREEN"
    assert world.commits(run) == []
    assert services.claim_phase(run.pk, agent="first", kind="audit") is None
    with pytest.raises(OwnPatch) as refusal:
        services.claim_phase(run.pk, agent="first", kind="audit", phase_id="one")
    assert (refusal.value.code, refusal.value.status) == ("own-patch", 409)
    lease = audit_claim(run, "second")
    services.submit_audit(lease.lease_id, fence=lease.fence, result=APPROVE)
    land(world, run, patch)
    assert world.commits(run) == ["one: one"]


def test_the_author_of_a_suggested_patch_can_not_approve_it_without_a_lease(world: World) -> None:
    run = begin(world)
    patch = revised(run, "first")
    with pytest.raises(OwnPatch):
        services.submit_audit_unleased(run.pk, "one", agent="first", result=APPROVE)
    assert not Attempt.objects.filter(run=run, verdict="approve").exists()
    merge.merge(patch.pk)
    assert world.commits(run) == []
    services.submit_audit_unleased(run.pk, "one", agent="second", result=APPROVE)
    land(world, run, patch)


def test_a_verdict_on_the_build_does_not_carry_over_to_the_suggested_patch(world: World) -> None:
    run = begin(world)
    hand.build(run, "one")
    services.submit_audit_unleased(run.pk, "one", agent="second", result=APPROVE)  # of the build, in its gate
    hand.pass_gate(Attempt.objects.get(run=run, kind="build"))
    services.submit_audit_unleased(run.pk, "one", agent="first", result=REVISE)
    patch = Attempt.objects.get(run=run, kind="audit_patch")
    apply.build(patch.pk)
    patch = hand.pass_gate(patch)
    merge.merge(patch.pk)
    assert world.commits(run) == []
    assert Attempt.objects.filter(run=run, kind="audit", state="WANTED", target=patch).exists()


def test_where_no_audit_is_required_an_auditors_patch_lands_as_it_is(world: World) -> None:
    run = begin(world, category="docs")
    services.request_audit(run.pk, "one", focus="general", profile=None, context=None, by="operator")
    patch = revised(run, "first")
    land(world, run, patch)
    assert Attempt.objects.filter(run=run, kind="audit").count() == 1


@pytest.mark.parametrize("kind", ["pull", "command"])
def test_with_one_declared_auditor_its_own_patch_ends_for_human_review(world: World, kind: str) -> None:
    run = begin(world, "first", kind=kind)
    revised(run, "first")
    fresh = Run.objects.get(pk=run.pk)
    assert (fresh.state, fresh.failure_code) == ("DONE_FAILED_REQUIRES_HUMAN_REVIEW", "audits-exhausted")
    assert "first wrote the patch" in (fresh.failure_reason or "")
    assert world.commits(run) == []


def test_a_second_declared_auditor_is_the_one_that_is_started(world: World) -> None:
    run = begin(world, "first", "second", kind="command")
    revised(run, "first")
    phase = hand.phase_of(run, "one")
    assert barred_from_open(phase) == "first"
    found = serving(Run.objects.get(pk=run.pk), phase, "audit", but="first")
    assert found is not None
    assert found.name == "second"


def test_with_nobody_to_approve_the_phase_ends_at_its_claim_deadline(world: World) -> None:
    run = begin(world)
    revised(run, "first")
    Phase.objects.filter(run=run).update(claim_deadline_at="2020-01-01T00:00Z")
    supervisor.step(run.pk)
    fresh = Run.objects.get(pk=run.pk)
    assert (fresh.state, fresh.failure_code) == ("DONE_FAILED_ENVIRONMENT", "claim-deadline")


def test_with_its_audits_used_up_a_suggested_patch_ends_for_human_review(world: World) -> None:
    run = begin(world)
    supervisor.step(run.pk)
    phase = hand.phase_of(run, "one")
    Phase.objects.filter(pk=phase.pk).update(limits={**phase.limits, "max_auditor_attempts": 1})
    revised(run, "first")
    fresh = Run.objects.get(pk=run.pk)
    assert (fresh.state, fresh.failure_code) == ("DONE_FAILED_REQUIRES_HUMAN_REVIEW", "audits-exhausted")
    assert world.commits(run) == []


def test_a_builder_that_audits_too_can_not_approve_its_build(world: World) -> None:
    run = begin(world)
    attempt = hand.green(run, "one")
    assert attempt.agent == "hand"
    assert services.claim_phase(run.pk, agent="hand", kind="audit") is None
    with pytest.raises(OwnPatch):
        services.submit_audit_unleased(run.pk, "one", agent="hand", result=APPROVE)
    lease = audit_claim(run, "other")
    services.submit_audit(lease.lease_id, fence=lease.fence, result=APPROVE)
    land(world, run, attempt)


def test_an_early_approval_of_ones_own_build_is_refused_too(world: World) -> None:
    run = begin(world)
    hand.build(run, "one")
    with pytest.raises(OwnPatch):
        services.submit_audit_unleased(run.pk, "one", agent="hand", result=APPROVE)


def test_an_agent_may_withdraw_its_own_patch(world: World) -> None:
    run = begin(world)
    hand.green(run, "one")
    services.submit_audit_unleased(run.pk, "one", agent="hand", result=AuditResult("revise", "not yet"))
    assert hand.phase_of(run, "one").state == "QUEUED"


def test_an_audit_that_was_merely_asked_for_is_open_to_its_builder(world: World) -> None:
    run = begin(world, category="docs")
    services.request_audit(run.pk, "one", focus="general", profile=None, context=None, by="operator")
    attempt = hand.green(run, "one")
    services.submit_audit_unleased(run.pk, "one", agent="hand", result=APPROVE)
    land(world, run, attempt)


def test_clients_without_a_token_share_a_name_that_binds_none_of_them(world: World) -> None:
    run = begin(world)
    lease = hand.claim(run, "one", agent=TOKENLESS)
    attempt = services.submit_build(lease.lease_id, fence=lease.fence, result=hand.result_for("one"))
    apply.build(attempt.pk)
    attempt = hand.pass_gate(attempt)
    merge.merge(attempt.pk)
    assert world.commits(run) == []
    services.submit_audit_unleased(run.pk, "one", agent=TOKENLESS, result=APPROVE)
    land(world, run, attempt)


def test_no_token_can_have_that_name(world: World) -> None:
    with pytest.raises(Invalid, match="clients without a token"):
        create_token(TOKENLESS, roles=["builder", "auditor"])
