"""Reports that count issues: a project's backlog in figures, and the summary of a run."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from issues import reports
from issues.api.serializers import BacklogQueryIn, BacklogSummaryOut, RunSummaryOut
from runs.api import examples_read as read
from runs.api.schema import answers, shown
from runs.api.views import ANY_ROLE, AgentView
from runs.errors import RunNotFound
from strategy.services import project_for


class BacklogSummaryView(AgentView):
    """`/reports/issue_backlog_summary`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[BacklogQueryIn],
        responses=answers({200: BacklogSummaryOut}, 404),
        operation_id="issue_backlog_summary",
        examples=shown(answered=read.BACKLOG_SUMMARY),
    )
    def get(self, request: Request) -> Response:
        """Show a project's backlog in figures."""
        project_id = self.project_id(self.query(BacklogQueryIn).get("project_id"))
        return Response(reports.backlog_summary(project_for(project_id)))


class RunSummaryView(AgentView):
    """`/reports/run_summary/{run_id}`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        responses=answers({200: RunSummaryOut}, 404),
        operation_id="run_summary",
        examples=shown(answered=read.RUN_SUMMARY),
    )
    def get(self, request: Request, run_id: str) -> Response:
        """Show how a run stands or ended."""
        run = self.visible_runs().filter(pk=run_id).defer("config").first()
        if run is None:
            raise RunNotFound(f"Run {run_id} not found")
        return Response(reports.run_summary(run))
