"""A phase in detail."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Func, IntegerField
from django.db.models.functions import Coalesce, Length
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from integration.api.serializers import AttemptOut, GateRunOut, LeaseOut, PhaseDetailOut
from integration.models import GateRun
from runs.api import examples_read as read
from runs.api.schema import answers, shown
from runs.api.serializers.phases import PhaseFieldsOut
from runs.api.views import ANY_ROLE, IN_RUN, AgentView
from runs.models import Attempt, Phase

MAX_SHOWN = 200
_TRIES = Coalesce(Func(F("evidence__tries"), function="jsonb_array_length", output_field=IntegerField()), 0)


class PhaseView(AgentView):
    """`/runs/{run_id}/phases/{phase_id}`."""

    allowed_roles = ANY_ROLE
    phase_missing = IN_RUN

    @extend_schema(
        responses=answers({200: PhaseDetailOut}, 404),
        operation_id="get_phase",
        examples=shown(answered=read.PHASE_DETAIL),
    )
    def get(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Show every field of a phase, its attempts with verdicts and its gate runs, oldest first."""
        phase = self.require_phase(run_id, phase_id)
        lease = phase.leases.live().first()
        return Response(
            {
                **PhaseFieldsOut(phase).data,
                "lease": None if lease is None else LeaseOut(lease).data,
                "attempts": [AttemptOut(attempt).data for attempt in _attempts(phase)],
                "gate_runs": [GateRunOut(gate).data for gate in _gate_runs(phase)],
            }
        )


def _attempts(phase: Phase) -> list[Attempt]:
    """Return the phase's newest attempts, oldest first, without what is large."""
    found: Any = phase.attempts.annotate(patch_bytes=Length("patch")).defer("patch", "report", "brief_notes")
    return list(found.order_by("-created_at", "-id")[:MAX_SHOWN])[::-1]


def _gate_runs(phase: Phase) -> list[GateRun]:
    found: Any = GateRun.objects.filter(phase=phase).annotate(tries=_TRIES).defer("evidence")
    return list(found.order_by("-created_at", "-id")[:MAX_SHOWN])[::-1]
