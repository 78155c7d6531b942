"""What happens after an attempt: again, an audit, or the end of the phase (SPEC sections 3, 6 and 7).

Every function works on a run whose row the caller has locked.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Max

from autopack_site.kernel import clock
from runs import caps, meters, outbox, rows
from runs.agents import agents_for, serving
from runs.authorship import barred_author, barred_from_open
from runs.diff_size import held_to
from runs.endings import close_attempt, fail_phase
from runs.lifecycle import AttemptState, Cause, PhaseState
from runs.models import Attempt, Phase, Run
from runs.transitions import move, note

SAME_FAILURE_LIMIT = 3
ENVIRONMENT_TRIES = 3


def next_number(phase: Phase, kind: str) -> int:
    """Return the number of the phase's next attempt of a kind, from 1."""
    last = phase.attempts.filter(kind=kind).aggregate(last=Max("number"))["last"]
    return (last or 0) + 1


def requeue(phase: Phase, why: str) -> None:
    """Put the phase back in the queue. The supervisor decides when its turn comes."""
    move(phase, "requeued", why=why, ready_at=None, claim_deadline_at=None)


def needs_approval(phase: Phase, attempt: Attempt) -> bool:
    """Tell whether an Auditor must approve the attempt's patch before the branch moves.

    An auditor's own patch carries its author's approval, which is as good as any where somebody merely asked for
    one. Where the strategy requires an audit it is not: one agent would have written the patch and landed it.
    """
    is_required = bool(held_to(attempt)["requires_audit"])
    if attempt.kind == Attempt.Kind.AUDIT_PATCH:
        return is_required
    return is_required or bool(attempt.report.get("needs_review") or phase.audit_request)


def is_approved(attempt: Attempt) -> bool:
    """Tell whether an Auditor approved exactly this patch, on whatever base: another than its author, if required."""
    approvals = attempt.phase.attempts.filter(
        kind=Attempt.Kind.AUDIT,
        state=AttemptState.DECIDED,
        verdict="approve",
        patch_hash=attempt.patch_hash,
        target=attempt,
    )
    author = barred_author(attempt)
    return (approvals.exclude(agent=author) if author else approvals).exists()


def want_audit(run: Run, phase: Phase, target: Attempt | None, purpose: str) -> None:
    """Ask for an audit of target; the phase waits in GATE until somebody claims and decides it.

    One open audit a phase: asking again, as a repeated message may, changes nothing.
    """
    if phase.attempts.audits().open().exists():
        return
    maximum = int(phase.limits["max_auditor_attempts"])
    if phase.auditor_attempts >= maximum:
        fail_phase(
            phase, Cause.REVIEW, "audits-exhausted", f"All {maximum} audits are used (max_auditor_attempts)"
        )
        return
    author = barred_author(target) if purpose == Attempt.Purpose.APPROVAL else ""
    if author and {agent.name for agent in agents_for(run, phase, "audit")} == {author}:
        reason = f"{author} wrote the patch, and no other Auditor of the project takes {phase.task_category}"
        fail_phase(phase, Cause.REVIEW, "audits-exhausted", reason)
        return
    if breach := caps.start_breach(run, phase.tier, phase, "audit"):
        fail_phase(phase, Cause.BUDGET, breach.limit, breach.detail)
        return
    if phase.state != PhaseState.GATE:
        move(phase, "audit_wanted", why=purpose)
    request = phase.audit_request or {}
    demanded = held_to(target) if target else phase.limits
    open_audit(
        phase, target, purpose, profile=request.get("profile") or demanded.get("auditor_profile") or ""
    )
    offer_audit(run, phase)


def open_audit(phase: Phase, target: Attempt | None, purpose: str, *, profile: str) -> Attempt:
    """Create the audit that an auditor may claim."""
    return Attempt.objects.create(
        run_id=phase.run_id,
        phase=phase,
        kind=Attempt.Kind.AUDIT,
        number=next_number(phase, Attempt.Kind.AUDIT),
        state=AttemptState.WANTED,
        purpose=purpose,
        profile=profile or "general_review",
        target=target,
        patch_hash=target.patch_hash if target else "",
        base_commit=target.base_commit if target else "",
        created_at=clock.now(),
    )


def offer_audit(run: Run, phase: Phase) -> None:
    """Start the audit's claim deadline and wake the program that serves such audits, if there is one.

    The audit is the phase's wanted one.
    """
    Phase.objects.filter(pk=phase.pk).update(
        claim_deadline_at=clock.database_now() + timedelta(seconds=settings.CLAIM_DEADLINE_S)
    )
    if serving(run, phase, "audit", but=barred_from_open(phase)):
        outbox.enqueue("agent.work", f"{phase.pk}:audit", phase_pk=phase.pk, kind="audit")


def after_failure(run: Run, phase: Phase, attempt: Attempt, cause: Cause) -> None:
    """Decide what follows a build that was refused, red or unusable: again, an audit, or the end.

    Callers have set the attempt's last state and counted it.
    """
    limits = phase.limits
    maximum = int(limits["max_builder_attempts"])
    builders_left = phase.builder_attempts < maximum
    audits_left = phase.auditor_attempts < int(limits["max_auditor_attempts"])
    stuck = _same_failures(phase, attempt) >= SAME_FAILURE_LIMIT
    audit_due = phase.builder_attempts >= int(limits["audit_after_failures"]) or stuck or not builders_left
    audit_due = audit_due or _builders_are_spent(run, phase)
    if audit_due and audits_left and _has_auditor(run, phase):
        want_audit(run, phase, attempt, Attempt.Purpose.FAILURE)
    elif builders_left and not stuck:
        requeue(phase, f"{attempt.failure_code}: {attempt.failure_reason}"[:500])
    else:
        reason = attempt.failure_reason
        if not builders_left:
            reason = f"{reason} (all {maximum} builder attempts are used: max_builder_attempts)"
        fail_phase(phase, final_cause(phase, cause), attempt.failure_code, reason)


def final_cause(phase: Phase, last: Cause) -> Cause:
    """Return the cause for a phase that ran out of attempts: policy only if every attempt was forbidden."""
    if last != Cause.POLICY:
        return last
    others = phase.attempts.builds().filter(
        state__in=[AttemptState.RED, AttemptState.FAILED, AttemptState.REFUSED]
    )
    return Cause.POLICY if not others.filter(is_policy_refusal=False).exists() else Cause.REVIEW


def fail_build(
    run: Run,
    phase: Phase,
    attempt: Attempt,
    cause: Cause,
    state: AttemptState,
    code: str,
    reason: str,
) -> None:
    """Count a weak build and decide what follows."""
    close_attempt(attempt, state, code=code, reason=reason)
    if cause == Cause.BUDGET:  # what follows is judged by the counters, which moved
        rows.reread(phase)
        rows.reread(run)
    if attempt.kind == Attempt.Kind.BUILD:
        phase.builder_attempts += 1
        Phase.objects.filter(pk=phase.pk).update(builder_attempts=phase.builder_attempts)
    note(
        phase, f"attempt_{state.lower()}", why=f"{code}: {reason}", data={"attempt": attempt.pk, "code": code}
    )
    after_failure(run, phase, attempt, cause)


def fail_audit(run: Run, phase: Phase, attempt: Attempt, code: str, reason: str) -> None:
    """Count an audit that came to no verdict, and ask for another."""
    close_attempt(attempt, AttemptState.FAILED, code=code, reason=reason)
    phase.auditor_attempts += 1
    Phase.objects.filter(pk=phase.pk).update(auditor_attempts=phase.auditor_attempts)
    rows.reread(phase)
    rows.reread(run)
    note(phase, "audit_failed", why=f"{code}: {reason}", data={"attempt": attempt.pk})
    want_audit(run, phase, attempt.target, attempt.purpose)


def stop_spent(run: Run, phase: Phase, attempt: Attempt, limit: str, why: str) -> None:
    """End an attempt that has spent a cap and is not done; the cap is named as its failure."""
    reason = f"{limit} was spent before the work was done. {why}"
    if attempt.kind == Attempt.Kind.AUDIT:
        fail_audit(run, phase, attempt, limit, reason)
    else:
        fail_build(run, phase, attempt, Cause.BUDGET, AttemptState.FAILED, limit, reason)


def give_back(run: Run, phase: Phase, attempt: Attempt, why: str) -> None:
    """Take a phase back from an agent without a result: it vanished, gave up, or has spent its budget."""
    if spent := meters.spent_cap(attempt):
        stop_spent(run, phase, attempt, spent, why)
    else:
        lose_attempt(run, phase, attempt, why)


def lose_attempt(run: Run, phase: Phase, attempt: Attempt, why: str) -> None:
    """Take a phase back from an agent that vanished. It costs no attempt, but not without end."""
    close_attempt(attempt, AttemptState.LOST, code="lease-expired", reason=why)
    phase.lost_attempts += 1
    Phase.objects.filter(pk=phase.pk).update(lost_attempts=phase.lost_attempts)
    note(phase, "attempt_lost", why=why, data={"attempt": attempt.pk})
    if phase.lost_attempts > settings.MAX_LOST_ATTEMPTS:
        fail_phase(phase, Cause.ENVIRONMENT, "agents-lost", f"{phase.lost_attempts} agents vanished at work")
    elif attempt.kind == Attempt.Kind.AUDIT:
        open_audit(phase, attempt.target, attempt.purpose, profile=attempt.profile)
        offer_audit(run, phase)
    else:
        requeue(phase, why)


def lose_to_environment(run: Run, phase: Phase, attempt: Attempt, *, code: str, reason: str) -> None:
    """Try again after a fault that is not the agent's; the third of one phase ends it."""
    close_attempt(attempt, AttemptState.LOST, code=code, reason=reason)
    note(phase, "environment_fault", why=f"{code}: {reason}", data={"attempt": attempt.pk, "code": code})
    if phase.attempts.filter(state=AttemptState.LOST, failure_code=code).count() >= ENVIRONMENT_TRIES:
        fail_phase(phase, Cause.ENVIRONMENT, code, reason)
    elif attempt.kind == Attempt.Kind.AUDIT:
        open_audit(phase, attempt.target, attempt.purpose, profile=attempt.profile)
        offer_audit(run, phase)
    else:
        requeue(phase, reason[:500])


def _builders_are_spent(run: Run, phase: Phase) -> bool:
    """Tell whether the builders' own envelope pays for no other attempt: the auditors' may still help."""
    caps_of_builds = (
        phase.limits.get("build_token_cap"),
        phase.tier.build_token_cap,
        run.build_token_cap,
    )
    if all(cap is None for cap in caps_of_builds):
        return False
    rows.reread(phase)
    rows.reread(run)
    breach = caps.spending_breach(run, phase.tier, phase, "build")
    return breach is not None and breach.limit.endswith("build_token_cap")


def _has_auditor(run: Run, phase: Phase) -> bool:
    return bool(agents_for(run, phase, "audit")) or bool(phase.audit_request)


def _same_failures(phase: Phase, attempt: Attempt) -> int:
    if not attempt.fingerprint:
        return 0
    return phase.attempts.builds().filter(fingerprint=attempt.fingerprint).count()
