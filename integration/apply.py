"""The governed apply, first half: a submitted patch is judged and becomes a candidate commit.

The second half, moving the branch, is `merge.py`. No transaction is open while git works.
"""

from __future__ import annotations

import structlog
from django.conf import settings

from autopack_site.kernel.errors import AutopackError
from integration import crash
from integration.candidate import Candidate, build_candidate
from integration.judge import DEFAULT_PROTECTED, PatchRules
from integration.objects import Identity
from integration.patch_errors import PatchRefused
from integration.repository import mirror_of
from integration.storage import storage_faults
from runs import rows, services
from runs.agents import config_of
from runs.lifecycle import AttemptState
from runs.models import Attempt, Phase, Run

log = structlog.get_logger(__name__)


def build(attempt_id: str) -> None:
    """Judge a submitted patch, build its candidate and record the outcome. Safe to repeat and to race.

    The commit is a pure function of patch, base and attempt, so that two builders make the same one.
    """
    attempt = rows.attempt_to_build.first(attempt_id)
    if attempt is None:
        return
    if attempt.state != AttemptState.SUBMITTED:
        services.forget_build(attempt_id)
        return
    base = attempt.base_commit
    try:
        with storage_faults("The candidate could not be written"):
            candidate = _candidate(attempt)
    except PatchRefused as error:
        services.record_refusal(
            attempt_id, code=error.code, reason=error.detail, is_policy=error.is_policy, base=base
        )
        return
    except AutopackError as error:
        log.warning("candidate.not_built", attempt_id=attempt_id, code=error.code)
        services.record_broken_apply(
            attempt_id,
            code=error.code,
            reason=error.detail,
            base=base,
            try_again_after=attempt.infra_failures if error.retryable else None,
        )
        return  # where it is tried again the outbox row stays open
    crash.line("candidate-kept")
    services.record_candidate(
        attempt_id, base=base, sha=candidate.sha, diff_lines=candidate.diff_lines, paths=candidate.paths
    )
    crash.line("candidate-recorded")


def _candidate(attempt: Attempt) -> Candidate:
    run, phase = attempt.run, attempt.phase
    mirror = mirror_of(run.project)
    candidate = build_candidate(
        mirror,
        patch=bytes(attempt.patch),
        base=attempt.base_commit,
        rules=rules_for(run, phase),
        author=Identity(attempt.agent or "unknown", "agent@autopack.invalid"),
        message=subject(phase),
        trailers=trailers(run, phase, attempt),
        timestamp=attempt.submitted_at or attempt.created_at,
    )
    crash.line("candidate-built")
    mirror.keep(run.run_id, phase.phase_id, ref_number(attempt, attempt.rebuilds), candidate.sha)
    return candidate


def ref_number(attempt: Attempt, rebuild: int) -> int:
    """Return the number under which a candidate is kept: attempts and their rebuilds, all distinct."""
    kinds = {Attempt.Kind.BUILD: 0, Attempt.Kind.AUDIT_PATCH: 1}
    return rebuild * 10_000 + attempt.number * 10 + kinds[Attempt.Kind(attempt.kind)]


def subject(phase: Phase) -> str:
    """Return the candidate's commit message: what the plan calls the work."""
    name = " ".join(phase.name.split())[:72] or phase.phase_id
    return f"{phase.phase_id}: {name}"


def trailers(run: Run, phase: Phase, attempt: Attempt) -> list[tuple[str, str]]:
    """Return what binds the commit to its origin (SPEC section 8)."""
    return [
        ("Autopack-Run", run.run_id),
        ("Autopack-Phase", phase.phase_id),
        ("Autopack-Attempt", f"{attempt.kind}-{attempt.number}"),
        ("Autopack-Agent", attempt.agent or "unknown"),
    ]


def rules_for(run: Run, phase: Phase) -> PatchRules:
    """Return what a patch of the phase may do, as the run's frozen strategy has it.

    Protected is also what the project's configuration names: a ruleset adds to that, and can't leave it out.
    """
    allowed = phase.limits["allowed"]
    named = (*config_of(run).protected_paths, *run.strategy.document["protected_paths"])
    protected = tuple(dict.fromkeys((*DEFAULT_PROTECTED, *named)))
    return PatchRules(
        scope=tuple(phase.scope),
        protected_paths=protected,
        allowed_protected=("**",) if allowed["protected_paths"] else (),
        max_bytes=settings.MAX_PATCH_BYTES,
        allow_binary=allowed["binary"],
        allow_symlinks=allowed["symlinks"],
        allow_submodules=allowed["submodules"],
        max_lines=phase.limits.get("max_diff_lines"),
    )
