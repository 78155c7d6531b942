"""What git and gates found out: candidates, refusals, gate verdicts, merges. Each fact is safe to repeat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db.models import F

from autopack_site.kernel import clock
from runs import outbox, ports, rows
from runs.diff_size import DIFF_LINES
from runs.endings import close_attempt, fail_phase
from runs.gate_queue import rebase
from runs.judgement import fail_build, is_approved, needs_approval, requeue, want_audit
from runs.lifecycle import LIVE_RUN_STATES, AttemptState, Cause, PhaseState
from runs.models import Attempt, Phase, Run
from runs.proofs import TOUCHED_PATHS, storable
from runs.services.lookup import reload
from runs.supervisor import locked_run
from runs.transitions import move, note

INFRA_TRIES = 3


@dataclass(frozen=True)
class MergePlan:
    """The branch may move from `old` to `new`; the caller records the intent in the same transaction."""

    attempt_id: str
    run_id: str
    phase_id: str
    old: str
    new: str


def _attempt(attempt_id: str) -> Attempt:
    attempt = rows.attempt_by_id.first(attempt_id)
    if attempt is None:
        raise Attempt.DoesNotExist(attempt_id)
    return attempt


def _run_id(attempt_id: str) -> str:
    return str(Attempt.objects.values_list("run_id", flat=True).get(pk=attempt_id))


def _submitted(attempt_id: str, base: str | None) -> Attempt | None:
    """Return the attempt if it waits for its candidate on `base`; settle its work unless that still waits.

    An attempt whose branch moved waits again, on a new base, under the same row of the outbox: what was found
    out on the old one must not take that row away.
    """
    attempt = _attempt(attempt_id)
    waits = attempt.state == AttemptState.SUBMITTED
    is_late = waits and base is not None and attempt.base_commit != base
    if not is_late:
        outbox.settle("candidate.build", attempt_id)
    return attempt if waits and not is_late else None


def forget_build(attempt_id: str) -> None:
    """Settle the building of an attempt that no longer waits for it: it was called off, or is done."""
    with locked_run(_run_id(attempt_id)):
        if _attempt(attempt_id).state != AttemptState.SUBMITTED:
            outbox.settle("candidate.build", attempt_id)


def record_candidate(
    attempt_id: str, *, base: str, sha: str, diff_lines: int, paths: Iterable[str] = ()
) -> None:
    """Record the candidate commit of a submitted patch; the supervisor sends it to its gate in its turn.

    `diff_lines` is what the patch adds and removes together: by it the gate profile and the audit are chosen.
    `paths` are the files that it touches: by them issues are resolved where the phase has no scope.

    A candidate on another base than the attempt's present one is a late worker's: it changes nothing.
    """
    with locked_run(_run_id(attempt_id)) as run:
        attempt = _submitted(attempt_id, base)
        if attempt is None or run.state not in LIVE_RUN_STATES:
            return
        phase = attempt.phase
        attempt.state, attempt.base_commit, attempt.candidate_sha = AttemptState.CANDIDATE, base, sha
        # whatever the builder said of them
        judged = {DIFF_LINES: diff_lines, TOUCHED_PATHS: storable(paths)}
        attempt.report = {**attempt.report, **judged}
        attempt.save(update_fields=["state", "base_commit", "candidate_sha", "report"])
        if phase.state == PhaseState.EXECUTING:
            move(phase, "applied", data={"attempt": attempt.pk, "candidate": sha, "base": base})
        else:
            note(phase, "candidate_built", data={"attempt": attempt.pk, "candidate": sha, "base": base})


def record_refusal(
    attempt_id: str, *, code: str, reason: str, is_policy: bool, base: str | None = None
) -> None:
    """Record that the judge or git refused a submitted patch (on `base`, where it matters)."""
    with locked_run(_run_id(attempt_id)) as run:
        attempt = _submitted(attempt_id, base)
        if attempt is None or run.state not in LIVE_RUN_STATES:
            return
        phase = attempt.phase
        if attempt.rebuilds and not is_policy:
            _conflicted(phase, attempt, code, reason)
            return
        attempt.is_policy_refusal = is_policy
        attempt.fingerprint = f"refused:{code}"[:64]
        attempt.save(update_fields=["is_policy_refusal", "fingerprint"])
        cause = Cause.POLICY if is_policy else Cause.REVIEW
        fail_build(run, phase, attempt, cause, AttemptState.REFUSED, code, reason)


def _conflicted(phase: Phase, attempt: Attempt, code: str, reason: str) -> None:
    """A green patch no longer fits the moved branch: build it anew, at no attempt's cost."""
    close_attempt(attempt, AttemptState.DROPPED, code=code, reason=reason)
    note(phase, "conflicted", why=reason, data={"attempt": attempt.pk})
    Phase.objects.filter(pk=phase.pk).update(lost_attempts=F("lost_attempts") + 1)
    requeue(phase, "The branch moved and the patch no longer applies")


def gate_started(attempt_id: str) -> bool:
    """Show that the gate is at work; False when the attempt is no longer wanted."""
    with locked_run(_run_id(attempt_id)) as run:
        attempt = _attempt(attempt_id)
        if attempt.state != AttemptState.GATING or run.state not in LIVE_RUN_STATES:
            return False
        if attempt.phase.state == PhaseState.GATE:
            move(attempt.phase, "gate_started", data={"attempt": attempt.pk})
        return True


def gate_finished(attempt_id: str, *, verdict: str, fingerprint: str = "", reason: str = "") -> None:
    """Act on a gate's verdict: green (flaky and waived count as green), red, or infra_failed."""
    with locked_run(_run_id(attempt_id)) as run:
        attempt = _attempt(attempt_id)
        phase = attempt.phase
        if attempt.state != AttemptState.GATING or run.state not in LIVE_RUN_STATES:
            return
        if verdict == "infra_failed":
            _gate_broke(phase, attempt, reason)
        elif verdict in ("green", "flaky", "waived"):
            _gate_passed(run, phase, attempt, verdict)
        else:
            attempt.fingerprint = fingerprint[:64]
            attempt.save(update_fields=["fingerprint"])
            fail_build(
                run, phase, attempt, Cause.GATE, AttemptState.RED, "gate-red", reason or "The gate is red"
            )


def _gate_passed(run: Run, phase: Phase, attempt: Attempt, verdict: str) -> None:
    attempt.state = AttemptState.GREEN
    attempt.save(update_fields=["state"])
    note(phase, f"gate_{verdict}", data={"attempt": attempt.pk, "candidate": attempt.candidate_sha})
    if needs_approval(phase, attempt) and not is_approved(attempt):
        if not phase.attempts.audits().open().exists():
            want_audit(run, phase, attempt, Attempt.Purpose.APPROVAL)
        return
    outbox.enqueue("candidate.merge", attempt.pk, attempt_id=attempt.pk)


def _gate_broke(phase: Phase, attempt: Attempt, reason: str) -> None:
    attempt.infra_failures += 1
    attempt.save(update_fields=["infra_failures"])
    if attempt.infra_failures >= INFRA_TRIES:
        fail_phase(phase, Cause.ENVIRONMENT, "gate-infrastructure", reason or "The gate could not run")
        return
    if phase.state == PhaseState.CI_RUNNING:
        move(phase, "interrupted", why=reason)
    ports.gates().dispatch(attempt.pk)


def begin_merge(attempt_id: str) -> MergePlan | None:
    """Decide under the run's lock whether the green candidate may move the branch now.

    Must be called inside `locked_run`'s transaction by the app that records the git intent. Returns None
    when there is nothing to do, or when the branch moved: then the rebuild on it is under way.
    """
    attempt = _attempt(attempt_id)
    run, phase = attempt.run, attempt.phase
    outbox.settle("candidate.merge", attempt_id)
    if attempt.state != AttemptState.GREEN or run.state not in LIVE_RUN_STATES:
        return None
    if not ports.gates().is_green(attempt.pk):
        fail_phase(phase, Cause.ENVIRONMENT, "evidence-missing", "No gate evidence is bound to the candidate")
        return None
    if needs_approval(phase, attempt) and not is_approved(attempt):
        want_audit(run, phase, attempt, Attempt.Purpose.APPROVAL)
        return None
    if attempt.base_commit != run.head_commit:
        rebase(phase, attempt, run.head_commit)
        return None
    attempt.state = AttemptState.MERGING
    attempt.save(update_fields=["state"])
    return MergePlan(attempt.pk, run.run_id, phase.phase_id, run.head_commit, attempt.candidate_sha)


def finish_merge(attempt_id: str, *, new_head: str, tag: str) -> None:
    """Record that the branch moved: the phase is COMPLETE, with the commit that earned it.

    Called in the transaction that marks the git intent done.
    """
    attempt = _attempt(attempt_id)
    run, phase = attempt.run, attempt.phase
    if attempt.state != AttemptState.MERGING:
        return
    attempt.state = AttemptState.MERGED
    attempt.ended_at = clock.now()
    attempt.save(update_fields=["state", "ended_at"])
    built = int(attempt.kind == Attempt.Kind.BUILD)  # counted like the ones that failed
    Run.objects.filter(pk=run.pk).update(head_commit=new_head)
    move(
        phase,
        "merged",
        data={"commit": new_head, "attempt": attempt.pk, "tag": tag},
        commit_sha=new_head,
        builder_attempts=phase.builder_attempts + built,
        notes="",
        claim_deadline_at=None,
    )
    if phase.limits.get("cleans_up"):
        ports.ledger().end_cleanup(phase.pk)
    if run.state in LIVE_RUN_STATES:
        if run.state == "SNAPSHOT_CREATED":
            move(run, "queued")
        move(run, "snapshot_created", data={"tag": tag, "commit": new_head})


def record_broken_apply(
    attempt_id: str,
    *,
    code: str,
    reason: str,
    base: str | None = None,
    try_again_after: int | None = None,
) -> None:
    """Record that git or the disk failed on a submitted patch: no other attempt would fare better.

    `try_again_after` is how many infrastructure faults of the attempt the caller knew of, where the same build may
    yet succeed: then it is put off, until the attempt has had INFRA_TRIES of them. Faults that were met at once by
    several workers count as one. None ends the phase now.
    """
    with locked_run(_run_id(attempt_id)) as run:
        attempt = _attempt(attempt_id)
        is_in_force = attempt.state == AttemptState.SUBMITTED and base in (None, attempt.base_commit)
        if try_again_after is not None and is_in_force and run.state in LIVE_RUN_STATES:
            if attempt.infra_failures != try_again_after:
                return
            attempt.infra_failures += 1
            attempt.save(update_fields=["infra_failures"])
            note(attempt.phase, "apply_failed", why=reason, data={"attempt": attempt.pk, "code": code})
            if attempt.infra_failures < INFRA_TRIES:
                outbox.postpone("candidate.build", attempt_id, delay_s=settings.GATE_BACKOFF_S)
                return
        found = _submitted(attempt_id, base)
        if found is not None and run.state in LIVE_RUN_STATES:
            fail_phase(found.phase, Cause.ENVIRONMENT, code, reason)


def conflict_merge(attempt_id: str, *, code: str, reason: str) -> None:
    """Record that the branch holds what no intent explains: the phase fails, nothing is overwritten."""
    attempt = _attempt(attempt_id)
    if attempt.state != AttemptState.MERGING:
        return
    attempt.state = AttemptState.DROPPED
    attempt.save(update_fields=["state"])
    phase = attempt.phase
    reload(phase, attempt.run)
    fail_phase(phase, Cause.ENVIRONMENT, code, reason)
