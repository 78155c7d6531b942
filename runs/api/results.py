"""Results: what builders and auditors hand in, and the request for an audit."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from autopack_site.kernel.errors import Invalid, problem
from runs import outbox, rows, services, waiting
from runs.api import examples
from runs.api.schema import answers, shown
from runs.api.serializers.common import usage_of
from runs.api.serializers.results import (
    AuditorRequestIn,
    AuditorRequestOut,
    AuditorResultIn,
    AuditorResultOut,
    BuilderResultIn,
    BuilderResultOut,
)
from runs.api.views import AgentView
from runs.candidates import build_within
from runs.errors import LeaseNotFound
from runs.judgement import needs_approval
from runs.lifecycle import AttemptState
from runs.models import Attempt, Phase
from runs.services import AuditResult, BuildResult, SuggestedPatch
from strategy.defaults import AUDITOR_PROFILE_ALIASES, GENERAL_REVIEW

_REPORTED = (
    "files_changed", "lines_added", "lines_removed", "builder_attempts", "duration_minutes", "base_commit",
    "status",
)  # fmt: skip


class PatchTooLarge(Invalid):
    """The patch is over the limit of this installation."""

    code = "patch-too-large"
    title = "The patch is too large"


class CandidateRefused(Invalid):
    """The judge or git refused the patch; nothing was written. `code` is the refusal's own."""

    title = "The patch can't be applied"

    def __init__(self, attempt: Attempt) -> None:
        row = problem(attempt.failure_code, ["body", "patch_content"], attempt.failure_reason)
        super().__init__([row], attempt_id=attempt.pk, phase_state=attempt.phase.state)
        self.code = attempt.failure_code  # type: ignore[misc]  # the refusal's, not the class's


class _ResultView(AgentView):
    """What results have in common: the phase of the path, and the lease they come under."""

    def lease_of(self, body: dict[str, Any], run_id: str, phase_id: str) -> str | None:
        """Return the id of the caller's own lease on this phase, None without one; raise LeaseNotFound."""
        lease_id: str | None = body.get("lease_id")
        if lease_id is None:
            return None
        lease = self.require_lease(lease_id)
        if (lease.run_id, lease.phase.phase_id) != (run_id, phase_id):
            raise LeaseNotFound(f"Lease {lease_id} not found")
        return lease_id


class BuilderResultView(_ResultView):
    """`/runs/{run_id}/phases/{phase_id}/builder_result`."""

    allowed_roles = (Role.BUILDER,)

    @extend_schema(
        request=BuilderResultIn,
        responses=answers({200: BuilderResultOut}, 404, 409),
        operation_id="builder_result",
        examples=shown(
            sent=examples.BUILDER_RESULT,
            answered={
                "message": "Builder result processed for phase discount",
                "commit_sha": examples.COMMIT,
                "phase_state": "GATE",
            },
        ),
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Take a builder's result, judge its patch and build the candidate while the caller waits."""
        body = self.body(BuilderResultIn)
        result = _build_result(body)
        self.require_phase(run_id, phase_id)
        lease_id = self.lease_of(body, run_id, phase_id)
        with outbox.taken("candidate.build") as untold:  # built right here, so no worker is asked as well
            if lease_id is not None:
                attempt = services.submit_build(lease_id, fence=body["fence"], result=result)
            else:
                attempt = waiting.in_turn(
                    run_id,
                    phase_id,
                    lambda: services.submit_build_unleased(
                        run_id, phase_id, agent=self.caller.name, result=result
                    ),
                    wait_s=settings.APPLY_LIMIT_S,
                )
        if attempt.state == AttemptState.SUBMITTED:
            if not build_within(attempt.pk):
                for row in untold:
                    outbox.publish(row)
            attempt = _reread(attempt.pk)
        if attempt.state == AttemptState.REFUSED:
            raise CandidateRefused(attempt)
        return Response(
            {
                "message": f"Builder result processed for phase {phase_id}",
                "commit_sha": _commit_of(attempt),
                "phase_state": _state_of(attempt.phase_id),
            }
        )


class AuditorRequestView(AgentView):
    """`/runs/{run_id}/phases/{phase_id}/auditor_request`."""

    allowed_roles = (Role.AUDITOR,)

    @extend_schema(
        request=AuditorRequestIn,
        responses=answers({200: AuditorRequestOut}, 404),
        operation_id="auditor_request",
        examples=shown(
            sent={"review_focus": "money", "auditor_profile": "general_review"},
            answered={
                "message": "Auditor review requested for phase discount",
                "review_focus": "money",
                "auditor_profile": "general_review",
            },
        ),
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Ask that an Auditor approve the phase's patch before it may land."""
        body = self.body(AuditorRequestIn)
        phase = self.require_phase(run_id, phase_id)
        profile = body.get("auditor_profile") or phase.limits.get("auditor_profile") or GENERAL_REVIEW
        profile = AUDITOR_PROFILE_ALIASES.get(profile, profile)
        services.request_audit(
            run_id,
            phase_id,
            focus=body["review_focus"],
            profile=profile,
            context=body.get("failure_context"),
            by=self.caller.name,
        )
        return Response(
            {
                "message": f"Auditor review requested for phase {phase_id}",
                "review_focus": body["review_focus"],
                "auditor_profile": profile,
            }
        )


class AuditorResultView(_ResultView):
    """`/runs/{run_id}/phases/{phase_id}/auditor_result`."""

    allowed_roles = (Role.AUDITOR,)

    @extend_schema(
        request=AuditorResultIn,
        responses=answers({200: AuditorResultOut}, 404, 409),
        operation_id="auditor_result",
        examples=shown(
            sent=examples.AUDITOR_RESULT,
            answered={
                "message": "Auditor result processed for phase discount",
                "recommendation": "revise",
                "patches_applied": 0,
                "commit_shas": [],
                "phase_state": "EXECUTING",
                "refusals": [],
            },
        ),
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Take an Auditor's verdict, and try its patch as a candidate where it suggests one."""
        body = self.body(AuditorResultIn)
        result = _audit_result(body)
        self.require_phase(run_id, phase_id)
        lease_id = self.lease_of(body, run_id, phase_id)
        if lease_id is not None:
            audit = services.submit_audit(lease_id, fence=body["fence"], result=result)
        else:
            audit = services.submit_audit_unleased(run_id, phase_id, agent=self.caller.name, result=result)
        tried = _try_patches(audit)
        shas = [attempt.candidate_sha for attempt in tried if attempt.candidate_sha]
        return Response(
            {
                "message": f"Auditor result processed for phase {phase_id}",
                "recommendation": result.verdict,
                "patches_applied": len(shas),
                "commit_shas": shas,
                "phase_state": _state_of(audit.phase_id),
                "refusals": [
                    {"code": attempt.failure_code, "reason": attempt.failure_reason}
                    for attempt in tried
                    if attempt.state == AttemptState.REFUSED
                ],
            }
        )


def _build_result(body: dict[str, Any]) -> BuildResult:
    report = {name: body[name] for name in _REPORTED if body.get(name) is not None}
    return BuildResult(
        status=body["status"],
        patch=_patch_bytes(body["patch_content"], "patch_content"),
        usage=usage_of(body),
        notes=body["notes"] or "",
        issues=tuple(body["suggested_issues"] or ()),
        report={**report, "probe_results": [dict(row) for row in body["probe_results"] or ()]},
    )


def _audit_result(body: dict[str, Any]) -> AuditResult:
    patches = tuple(
        SuggestedPatch(
            row["description"],
            _patch_bytes(row["patch_content"], "suggested_patches", index, "patch_content"),
        )
        for index, row in enumerate(body["suggested_patches"] or ())
    )
    return AuditResult(
        verdict=body["recommendation"],
        notes=body["review_notes"],
        patches=patches,
        issues=tuple(body["issues_found"] or ()),
        usage=usage_of(body),
        confidence=body["confidence"],
        patch_hash=body.get("patch_hash"),
    )


def _patch_bytes(text: str | None, *loc: str | int) -> bytes:
    patch, limit = (text or "").encode("utf-8"), settings.MAX_PATCH_BYTES
    if len(patch) > limit:
        row = problem("patch_too_large", ["body", *loc], f"{len(patch)} bytes; {limit} are allowed")
        raise PatchTooLarge([row], limit_bytes=limit)
    return patch


def _reread(attempt_id: str) -> Attempt:
    attempt = rows.attempt_shown.first(attempt_id)
    assert attempt is not None  # its row was written by this very request
    return attempt


def _try_patches(audit: Attempt) -> list[Attempt]:
    untried = Attempt.objects.filter(
        target=audit, kind=Attempt.Kind.AUDIT_PATCH, state=AttemptState.SUBMITTED
    )
    names = list(untried.values_list("pk", flat=True))
    for attempt_id in names:
        build_within(attempt_id)
    return [_reread(attempt_id) for attempt_id in names]


def _commit_of(attempt: Attempt) -> str | None:
    """Return the candidate's commit, unless an Auditor must approve it first."""
    if not attempt.candidate_sha or needs_approval(attempt.phase, attempt):
        return None
    return attempt.candidate_sha


def _state_of(phase_pk: int) -> str:
    return str(Phase.objects.values_list("state", flat=True).get(pk=phase_pk))
