"""One run's candidates go through their gate one at a time, on the branch as it then is.

Moves of a branch are serial (SPEC section 8), so a second candidate gated on the same base would be rebuilt
and gated again when the first lands. Waiting instead costs each patch one gate run. The caller holds the
run's row lock.
"""

from __future__ import annotations

from django.db.models import F, Q

from runs import caps, outbox, ports
from runs.endings import fail_phase
from runs.lifecycle import AttemptState, Cause, PhaseState
from runs.models import Attempt, Phase, Run, Tier
from runs.transitions import move, note


def serve_next(run: Run) -> None:
    """Send the candidate that waits longest to its gate, if the place is free."""
    waiting = Attempt.objects.filter(run=run, state=AttemptState.CANDIDATE).order_by("submitted_at", "pk")
    # Mostly nothing waits, so that is asked first: this is part of every step.
    while (attempt := waiting.select_related("phase__tier").first()) and not _is_taken(run):
        phase = attempt.phase
        if attempt.base_commit != run.head_commit:
            rebase(phase, attempt, run.head_commit)
        elif breach := caps.gate_breach(phase.tier):
            fail_phase(phase, Cause.BUDGET, breach.limit, breach.detail)
        else:
            _dispatch(run, phase, attempt)


def _is_taken(run: Run) -> bool:
    """Tell whether a candidate is gated, lands, or is rebuilt for its turn.

    A green one that waits for an Auditor leaves the place to others.
    """
    at_work = Q(state__in=[AttemptState.GATING, AttemptState.MERGING])
    landing = Q(state=AttemptState.GREEN, phase__state=PhaseState.CI_RUNNING)
    rebuilt = Q(state=AttemptState.SUBMITTED, rebuilds__gt=0)
    return Attempt.objects.filter(at_work | landing | rebuilt, run=run).exists()


def _dispatch(run: Run, phase: Phase, attempt: Attempt) -> None:
    attempt.state = AttemptState.GATING
    attempt.save(update_fields=["state"])
    Tier.objects.filter(pk=phase.tier_id).update(ci_runs_used=F("ci_runs_used") + 1)
    Run.objects.filter(pk=run.pk).update(ci_runs_used=F("ci_runs_used") + 1)
    ports.gates().dispatch(attempt.pk)


def rebase(phase: Phase, attempt: Attempt, head: str) -> None:
    """Have the attempt's patch rebuilt on the branch's head; evidence for the old base no longer counts."""
    attempt.state, attempt.rebuilds = AttemptState.SUBMITTED, attempt.rebuilds + 1
    attempt.base_commit, attempt.candidate_sha = head, ""
    attempt.save(update_fields=["state", "rebuilds", "base_commit", "candidate_sha"])
    if phase.state == PhaseState.CI_RUNNING:
        move(phase, "rebased", why="The branch moved; the candidate is rebuilt on it", data={"head": head})
    else:
        note(phase, "rebased", why="The branch moved; the candidate is rebuilt on it", data={"head": head})
    outbox.enqueue("candidate.build", attempt.pk, attempt_id=attempt.pk)
