"""A phase moved by hand."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from runs import services
from runs.api import examples_read as read
from runs.api.schema import answers, shown
from runs.api.serializers.phases import PhaseFieldsOut, UpdateStatusIn, UpdateStatusOut
from runs.api.views import IN_RUN, AgentView
from runs.errors import InvalidPhaseState
from runs.lifecycle import PhaseState

_COUNTS = ("builder_attempts", "minor_issues_count", "major_issues_count")


class UpdateStatusView(AgentView):
    """`/runs/{run_id}/phases/{phase_id}/update_status`."""

    allowed_roles = (Role.OPERATOR,)
    phase_missing = IN_RUN

    @extend_schema(
        request=UpdateStatusIn,
        responses=answers({200: UpdateStatusOut}, 400, 404, 409),
        operation_id="update_status",
        examples=shown(sent={"state": "FAILED", "why": "superseded"}, answered=read.UPDATED),
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Move a phase by hand, and book its tokens; counts are derived and only compared."""
        body = self.body(UpdateStatusIn)
        self.require_phase(run_id, phase_id)
        if body["state"] not in PhaseState.__members__:
            raise InvalidPhaseState(f"Invalid phase state: {body['state']}")
        services.set_phase_state(
            run_id,
            phase_id,
            state=PhaseState(body["state"]),
            by=self.caller.name,
            why=body["why"] or "",
            tokens_used=body.get("tokens_used"),
            counts={name: body[name] for name in _COUNTS if body.get(name) is not None},
        )
        phase = self.require_phase(run_id, phase_id)
        return Response(
            {
                "message": f"Phase {phase_id} updated to state {phase.state}",
                "phase": PhaseFieldsOut(phase).data,
            }
        )
