"""Audits: asked for, claimed, decided. A verdict is bound to the hash of the patch that it saw."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from autopack_site.kernel import clock
from autopack_site.kernel.errors import Invalid, problem
from runs import agents, budgets, meters, outbox, ports
from runs.authorship import must_be_another
from runs.endings import close_attempt, fail_phase, release
from runs.errors import LeaseHeld, NoAudit, OwnPatch, PatchChanged, StaleLease
from runs.judgement import next_number, open_audit, requeue
from runs.lifecycle import LIVE_PHASE_STATES, LIVE_RUN_STATES, AttemptState, Cause, PhaseState
from runs.models import Attempt, Lease, Phase, Run
from runs.ports import IssueReport
from runs.services.builds import patch_hash
from runs.services.late import DELIVERY, book_late, book_refused, delivery, rest_of
from runs.services.lookup import live_lease, phase_of, reload, run_id_of_lease
from runs.supervisor import locked_run
from runs.transitions import move, note

VERDICTS = ("approve", "revise", "escalate")


@dataclass(frozen=True)
class SuggestedPatch:
    """A minimal patch that an Auditor proposes; it goes the governed path like any other."""

    description: str
    patch: bytes


@dataclass(frozen=True)
class AuditResult:
    """An Auditor's verdict. `patch_hash` names the patch it saw, where the auditor says so."""

    verdict: str
    notes: str
    patches: tuple[SuggestedPatch, ...] = ()
    issues: tuple[IssueReport, ...] = ()
    usage: budgets.Usage = budgets.UNKNOWN_USAGE
    confidence: str = "medium"
    patch_hash: str | None = None

    @property
    def work(self) -> str:
        """Return what the verdict is known by when it comes again: a hash of what it says, and of which patch."""
        said = [self.verdict, self.notes, self.patch_hash, *(patch_hash(p.patch) for p in self.patches)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def request_audit(
    run_id: str, phase_id: str, *, focus: str, profile: str | None, context: str | None, by: str
) -> Phase:
    """Ask that an Auditor approve the phase's patch before it may land. Raises RunNotFound, PhaseNotFound."""
    with locked_run(run_id) as run:
        phase = phase_of(run, phase_id)
        request = {"focus": focus, "profile": profile or "", "context": context, "by": by}
        Phase.objects.filter(pk=phase.pk).update(audit_request=request)
        phase.audit_request = request
        note(phase, "audit_requested", who=by, why=focus, data={"profile": profile or ""})
    return phase


def submit_audit(lease_id: str, *, fence: int, result: AuditResult, may_repeat: bool = True) -> Attempt:
    """Take an Auditor's verdict under its lease. Raises StaleLease, PatchChanged, NoAudit, OwnPatch, Invalid.

    Where it came too late the usage and the issues are booked all the same, and once: see `submit_build`.
    """
    _check(result)
    try:
        with locked_run(run_id_of_lease(lease_id)) as run:
            lease = live_lease(lease_id, fence)
            return _under(run, lease, _rest(lease.phase, lease.owner, result) if may_repeat else result)
    except StaleLease:
        book_late(lease_id, result.usage, result.issues, work=result.work)
        raise


def _under(run: Run, lease: Lease, result: AuditResult) -> Attempt:
    if lease.attempt.kind != Attempt.Kind.AUDIT:
        raise NoAudit("This lease is for a build, not for an audit")
    _same_patch(lease.attempt, result)
    _of_another(lease.attempt, result, lease.owner)
    release(lease, "submitted")
    return _decide(run, lease.phase, lease.attempt, result, lease.owner)


def submit_audit_unleased(run_id: str, phase_id: str, *, agent: str, result: AuditResult) -> Attempt:
    """Take a verdict from a client that names no lease: under its own, on the open audit, or on the patch in force.

    Raises LeaseHeld while another holds the phase, StaleLease, PatchChanged, CategoryNotTaken, OwnPatch, NoAudit when
    there is no patch to judge, or none that waits: what is landing on the branch is decided.
    What was seen and used is booked first where it came too late; not where nothing is built yet.
    """
    _check(result)
    try:
        return _take_unleased(run_id, phase_id, agent, result)
    except (LeaseHeld, NoAudit, OwnPatch, PatchChanged, StaleLease) as refusal:
        if not getattr(refusal, "is_early", False):
            book_refused(
                run_id,
                phase_id,
                agent=agent,
                kind="audit",
                work=result.work,
                usage=result.usage,
                issues=result.issues,
            )
        raise


def _take_unleased(run_id: str, phase_id: str, agent: str, result: AuditResult) -> Attempt:
    with locked_run(run_id) as run:
        phase = phase_of(run, phase_id)
        lease = phase.leases.live().first()
        if lease is not None and lease.owner != agent:
            raise LeaseHeld(f"{lease.owner} holds phase {phase_id}")
        result = _rest(phase, agent, result)
        if lease is not None:
            return _under(run, live_lease(lease.pk, lease.fence), result)
        if phase.attempts.filter(state=AttemptState.MERGING).exists():
            raise NoAudit(f"The candidate of phase {phase_id} is landing on the branch: it is decided")
        agents.must_take(run, phase, agent, "audit")
        audit = phase.attempts.filter(kind=Attempt.Kind.AUDIT, state=AttemptState.WANTED).first()
        if audit is None:
            target = phase.attempts.builds().order_by("-created_at").first()
            has_ended = run.state not in LIVE_RUN_STATES or phase.is_terminal
            if target is None or has_ended:
                raise NoAudit(f"Phase {phase_id} has no patch to judge", is_early=not has_ended)
            purpose = Attempt.Purpose.FAILURE if target.ended_at else Attempt.Purpose.APPROVAL
            audit = open_audit(
                phase, target, purpose, profile=(phase.audit_request or {}).get("profile") or ""
            )
        _same_patch(audit, result)
        _of_another(audit, result, agent)
        audit.agent = agent
        outbox.settle("agent.work", f"{phase.pk}:audit")
        return _decide(run, phase, audit, result, agent)


def _rest(phase: Phase, agent: str, result: AuditResult) -> AuditResult:
    usage, issues = rest_of(phase, agent, result.work, result.usage, result.issues)
    return replace(result, usage=usage, issues=issues)


def _check(result: AuditResult) -> None:
    if result.verdict not in VERDICTS:
        raise Invalid(
            [
                problem(
                    "enum",
                    ["body", "recommendation"],
                    f"One of {', '.join(VERDICTS)}; it is {result.verdict!r}",
                )
            ]
        )


def _same_patch(audit: Attempt, result: AuditResult) -> None:
    target = audit.target
    seen = result.patch_hash or audit.patch_hash
    if target is not None and (target.patch_hash != audit.patch_hash or seen != target.patch_hash):
        raise PatchChanged(f"The verdict is about patch {seen[:12]}, in force is {target.patch_hash[:12]}")


def _of_another(audit: Attempt, result: AuditResult, by: str) -> None:
    """Refuse an approval of one's own patch where it must be another's; to withdraw it is anyone's right."""
    if result.verdict == "approve":
        must_be_another(audit, by)


def _decide(run: Run, phase: Phase, audit: Attempt, result: AuditResult, by: str) -> Attempt:
    ports.ledger().record(phase.pk, result.issues, reporter=by, base=audit.base_commit)
    meters.settle(audit, result.usage, reason="verdict submitted")
    audit.state, audit.verdict, audit.notes = AttemptState.DECIDED, result.verdict, result.notes[:20_000]
    audit.agent = by
    audit.report = {
        "confidence": result.confidence,
        "patches": [p.description for p in result.patches],
        DELIVERY: delivery(result.work, result.issues),
    }
    audit.submitted_at = audit.ended_at = clock.now()
    audit.save()
    Phase.objects.filter(pk=phase.pk).update(
        auditor_attempts=phase.auditor_attempts + 1, claim_deadline_at=None
    )
    reload(phase, run)
    note(
        phase,
        f"audit_{result.verdict}d" if result.verdict.endswith("e") else f"audit_{result.verdict}",
        who=by,
        why=result.notes[:1000],
        data={"attempt": audit.pk, "patch": audit.patch_hash},
    )
    if run.state not in LIVE_RUN_STATES or phase.is_terminal:
        return audit
    if result.verdict == "escalate":
        fail_phase(phase, Cause.REVIEW, "auditor-escalated", result.notes or "The auditor escalated")
    elif result.verdict == "approve" and audit.purpose != Attempt.Purpose.FAILURE:
        _approve(audit)
    else:
        _revise(run, phase, audit, result)
    return audit


def _approve(audit: Attempt) -> None:
    target = audit.target
    if target is not None and target.state == AttemptState.GREEN:
        outbox.enqueue("candidate.merge", target.pk, attempt_id=target.pk)


def _revise(run: Run, phase: Phase, audit: Attempt, result: AuditResult) -> None:
    """Drop the judged patch; try the auditor's own, or the builder once more with the notes."""
    target = audit.target
    if target is not None and target.ended_at is None:
        _drop_target(phase, target, result.notes)
    Phase.objects.filter(pk=phase.pk).update(notes=result.notes[:20_000])
    phase.notes = result.notes[:20_000]
    suggestion = next((p for p in result.patches if p.patch.strip()), None)
    if suggestion is not None:
        _try_patch(run, phase, audit, suggestion)
    elif phase.builder_attempts < int(phase.limits["max_builder_attempts"]):
        if phase.state in LIVE_PHASE_STATES:
            requeue(phase, result.notes[:500])
    else:
        _no_attempt_left(phase, audit, result)


def _drop_target(phase: Phase, target: Attempt, why: str) -> None:
    ports.gates().cancel(phase.pk)
    close_attempt(target, AttemptState.DROPPED, code="audit-revise", reason=why)
    if target.kind == Attempt.Kind.BUILD:
        phase.builder_attempts += 1
        Phase.objects.filter(pk=phase.pk).update(builder_attempts=phase.builder_attempts)


def _try_patch(run: Run, phase: Phase, audit: Attempt, suggestion: SuggestedPatch) -> None:
    if phase.state == PhaseState.QUEUED:  # it is worked on from here on: no builder may claim it beside
        move(phase, "claimed", who=audit.agent)
    attempt = Attempt.objects.create(
        run=run,
        phase=phase,
        kind=Attempt.Kind.AUDIT_PATCH,
        number=next_number(phase, Attempt.Kind.AUDIT_PATCH),
        state=AttemptState.SUBMITTED,
        agent=audit.agent,
        target=audit,
        patch=suggestion.patch,
        patch_hash=patch_hash(suggestion.patch),
        base_commit=run.head_commit,
        notes=suggestion.description[:20_000],
        created_at=clock.now(),
        submitted_at=clock.now(),
    )
    note(phase, "audit_patch_submitted", who=audit.agent, data={"attempt": attempt.pk})
    outbox.enqueue("candidate.build", attempt.pk, attempt_id=attempt.pk)


def _no_attempt_left(phase: Phase, audit: Attempt, result: AuditResult) -> None:
    target = audit.target
    if audit.purpose == Attempt.Purpose.FAILURE and target is not None:
        if target.state == AttemptState.RED:
            fail_phase(phase, Cause.GATE, target.failure_code, target.failure_reason)
            return
        if target.is_policy_refusal:
            fail_phase(phase, Cause.POLICY, target.failure_code, target.failure_reason)
            return
    maximum = phase.limits["max_builder_attempts"]
    reason = result.notes[:2000] or "The auditor wants it revised"
    reason = f"{reason} (all {maximum} builder attempts are used: max_builder_attempts)"
    fail_phase(phase, Cause.REVIEW, "attempts-exhausted", reason)
