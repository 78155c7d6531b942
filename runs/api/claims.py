"""Claims: take work on, keep it, give it back."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from runs import services, waiting
from runs.api import examples
from runs.api.schema import answers, shown
from runs.api.serializers.claims import (
    MAX_WAIT_S,
    ClaimAnyIn,
    ClaimIn,
    ClaimOut,
    HeartbeatIn,
    HeartbeatOut,
    ReleaseIn,
)
from runs.api.views import AgentView
from runs.figures import read
from runs.services import Claim
from strategy.rules import canonical_category
from strategy.services import project_for

RETRY_AFTER_S = "2"
_ROLES = {"build": Role.BUILDER, "audit": Role.AUDITOR}
_NOTHING = OpenApiResponse(
    description="Nothing to claim now. With Retry-After: too many agents wait here already."
)


class _WorkerView(AgentView):
    allowed_roles = (Role.BUILDER, Role.AUDITOR)


class ClaimView(_WorkerView):
    """`/runs/{run_id}/claim`."""

    @extend_schema(
        request=ClaimIn,
        responses=answers({201: ClaimOut, 204: _NOTHING}, 404, 409),
        operation_id="claim_in_run",
        examples=shown(sent={"kind": "build", "wait_s": 20}, answered=examples.CLAIM, status=201),
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Claim the next phase to build or to audit, or a named one."""
        body = self.body(ClaimIn)
        self.require_role(_ROLES[body["kind"]])
        self.require_run(run_id)
        try:
            claim = waiting.claim_in_run(
                run_id,
                agent=self.caller.name,
                kind=body["kind"],
                phase_id=body.get("phase_id"),
                categories=_categories(body),
                ttl_s=body.get("ttl_s"),
                wait_s=min(body["wait_s"], MAX_WAIT_S),
            )
        except waiting.WaitersFull:
            return _come_back()
        return _answer(claim)


class ClaimAnyView(_WorkerView):
    """`/claim`."""

    @extend_schema(
        request=ClaimAnyIn,
        responses=answers({201: ClaimOut, 204: _NOTHING}, 404),
        operation_id="claim",
        examples=shown(
            sent={
                "kind": "build",
                "project_id": "shop",
                "categories": ["docs", "feature_scaffolding"],
                "wait_s": 20,
            },
            answered=examples.CLAIM,
            status=201,
        ),
    )
    def post(self, request: Request) -> Response:
        """Claim in the oldest run of the project that has something to build or to audit."""
        body = self.body(ClaimAnyIn)
        self.require_role(_ROLES[body["kind"]])
        project = project_for(self.project_id(body.get("project_id")))
        try:
            claim = waiting.claim_anywhere(
                project.project_id,
                agent=self.caller.name,
                kind=body["kind"],
                categories=_categories(body),
                ttl_s=body.get("ttl_s"),
                wait_s=min(body["wait_s"], MAX_WAIT_S),
            )
        except waiting.WaitersFull:
            return _come_back()
        return _answer(claim)


def _categories(body: dict[str, Any]) -> list[str]:
    """Return the categories as phases hold them: both spellings are one."""
    return [canonical_category(name, {}) for name in body["categories"] or ()]


def _answer(claim: Claim | None) -> Response:
    return Response(status=204) if claim is None else Response(ClaimOut(claim).data, status=201)


def _come_back() -> Response:
    return Response(status=204, headers={"Retry-After": RETRY_AFTER_S})


class HeartbeatView(_WorkerView):
    """`/leases/{lease_id}/heartbeat`."""

    @extend_schema(
        request=HeartbeatIn,
        responses=answers({200: HeartbeatOut}, 404, 409),
        operation_id="heartbeat",
        examples=shown(
            sent={"fence": 1, "usage": {"input_tokens": 80_000, "output_tokens": 6_000, "model": "a-model"}},
            answered={
                "expires_at": examples.LATER,
                "budget": {
                    "spent": 86_000,
                    "cap": 100_000,
                    "state": "nearly_spent",
                    "limit": "max_attempt_tokens",
                    "stop_by": None,
                    "turns": None,
                    "turn_cap": None,
                    "cost_usd": 0.63,
                    "cost_cap_usd": 0.75,
                },
            },
        ),
    )
    def post(self, request: Request, lease_id: str) -> Response:
        """Extend the lease by its ttl from now, say what is used, hear what is left. A 409 means: stop."""
        body = self.body(HeartbeatIn)
        self.require_lease(lease_id)
        beat = services.heartbeat(lease_id, fence=body["fence"], figures=read(body.get("usage")))
        return Response(HeartbeatOut(beat).data)


class ReleaseView(_WorkerView):
    """`/leases/{lease_id}/release`."""

    @extend_schema(
        request=ReleaseIn,
        responses=answers({204: OpenApiResponse(description="Given back")}, 404, 409),
        operation_id="release",
        examples=shown(sent={"fence": 1, "why": "Out of tokens"}),
    )
    def post(self, request: Request, lease_id: str) -> Response:
        """Give the phase back without a result."""
        body = self.body(ReleaseIn)
        self.require_lease(lease_id)
        services.release_lease(lease_id, fence=body["fence"], why=body["why"] or "released by its holder")
        return Response(status=204)
