"""The brief: what an agent is told about its task. Data only; texts in it come from plans and agents."""

from __future__ import annotations

from typing import Any

from runs import ports
from runs.lifecycle import AttemptState
from runs.models import Attempt, Phase, Run

MAX_NOTES = 20_000


def brief_for(run: Run, phase: Phase, attempt: Attempt) -> dict[str, Any]:
    """Return the brief of an attempt as JSON data.

    Keys: run_id, phase {…}, attempt {kind, number}, base_commit, branch, scope, limits, notes (what the last
    review asked for), previous (why earlier attempts failed); for audits also target {patch, hash, gate}.
    """
    brief: dict[str, Any] = {
        "run_id": run.run_id,
        "project_id": run.project.project_id,
        "branch": run.branch,
        "base_commit": attempt.base_commit,
        "phase": {
            "phase_id": phase.phase_id,
            "tier_id": phase.tier.tier_id,
            "index": phase.phase_index,
            "name": phase.name,
            "description": phase.description,
            "task_category": phase.task_category,
            "complexity": phase.complexity,
            "builder_mode": phase.builder_mode,
        },
        "attempt": {"kind": attempt.kind, "number": attempt.number, "id": attempt.pk},
        "scope": phase.scope,
        "limits": {
            "max_builder_attempts": phase.limits["max_builder_attempts"],
            "builder_attempts": phase.builder_attempts,
            "tokens_reserved": attempt.tokens_reserved,
            "gate_profile": phase.limits["ci_profile"],
        },
        "notes": phase.notes[:MAX_NOTES],
        "previous": _previous(phase),
    }
    if attempt.kind == Attempt.Kind.AUDIT:
        brief["audit"] = {"purpose": attempt.purpose, "profile": attempt.profile, **_request(phase)}
        brief["target"] = _target(attempt.target)
    return brief


def _previous(phase: Phase) -> list[dict[str, Any]]:
    failed = phase.attempts.builds().filter(
        state__in=[AttemptState.RED, AttemptState.REFUSED, AttemptState.FAILED]
    )
    rows = []
    for attempt in failed.defer("patch").order_by("-created_at")[:3]:
        row: dict[str, Any] = {
            "number": attempt.number,
            "state": attempt.state,
            "code": attempt.failure_code,
            "reason": attempt.failure_reason,
        }
        if attempt.state == AttemptState.RED:
            row["gate"] = ports.gates().summary(attempt.pk)
        rows.append(row)
    return rows


def _request(phase: Phase) -> dict[str, Any]:
    request = phase.audit_request or {}
    return {"focus": request.get("focus", "general"), "failure_context": request.get("context")}


def _target(target: Attempt | None) -> dict[str, Any] | None:
    if target is None:
        return None
    return {
        "attempt_id": target.pk,
        "state": target.state,
        "patch": bytes(target.patch).decode("utf-8", "replace"),
        "patch_hash": target.patch_hash,
        "candidate_sha": target.candidate_sha,
        "failure_code": target.failure_code,
        "failure_reason": target.failure_reason,
        "gate": ports.gates().summary(target.pk),
    }
