"""Audits that wait for somebody to claim them."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from runs.api import examples_read as read
from runs.api.paging import keyset_page
from runs.api.schema import answers, shown
from runs.api.serializers.audits import AuditListIn, AuditListOut, AuditOut
from runs.api.views import AgentView
from runs.lifecycle import LIVE_RUN_STATES, AttemptState
from runs.models import Attempt, Lease


class AuditListView(AgentView):
    """`/audits`."""

    allowed_roles = (Role.AUDITOR,)

    @extend_schema(
        parameters=[AuditListIn],
        responses=answers({200: AuditListOut}),
        operation_id="list_audits",
        examples=shown(answered=read.AUDITS),
    )
    def get(self, request: Request) -> Response:
        """List the open audits that the caller may claim, the longest waiting first."""
        query = self.query(AuditListIn)
        audits = Attempt.objects.audits().filter(state=AttemptState.WANTED, run__state__in=LIVE_RUN_STATES)
        audits = audits.exclude(phase__leases__in=Lease.objects.live())
        project_id = query.get("project_id")
        for wanted in (project_id, self.caller.project_scope):
            if wanted is not None:
                audits = audits.filter(run__project__project_id=wanted)
        if "run_id" in query:
            audits = audits.filter(run_id=query["run_id"])
        audits = audits.select_related("run__project", "phase").only(
            "id", "run", "number", "purpose", "profile", "target", "patch_hash", "created_at",
            "run__project__project_id", "phase__phase_id", "phase__name", "phase__task_category",
            "phase__complexity", "phase__claim_deadline_at",
        )  # fmt: skip
        found, following = keyset_page(
            audits, ("created_at", "id"), cursor=query.get("cursor"), limit=query["limit"]
        )
        return Response({"audits": [AuditOut(audit).data for audit in found], "next_cursor": following})
