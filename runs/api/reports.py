"""Reports over runs: metrics of runs and of a run's tiers, and the budget analysis."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from runs import reports
from runs.api import examples_read as read
from runs.api.paging import page
from runs.api.schema import answers, shown
from runs.api.serializers.reports import (
    BudgetAnalysisIn,
    BudgetAnalysisOut,
    RunMetricsIn,
    RunMetricsOut,
    TierMetricsOut,
)
from runs.api.views import ANY_ROLE, AgentView
from runs.errors import InvalidRunState
from runs.lifecycle import RunState

_SHOWN = 64  # characters of a state that is none


class RunMetricsView(AgentView):
    """`/metrics/runs`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[RunMetricsIn],
        responses=answers({200: RunMetricsOut}, 400),
        operation_id="run_metrics",
        examples=shown(answered=read.METRICS_RUNS),
    )
    def get(self, request: Request) -> Response:
        """List the runs that the token may see in figures, newest first."""
        query = self.query(RunMetricsIn)
        runs = self.visible_runs().of_project(query.get("project_id"))
        if status := query["status"]:
            if status not in set(RunState):
                raise InvalidRunState(f"Invalid run state: {status[:_SHOWN]}")
            runs = runs.filter(state=status)
        found, following = page(reports.rows_of(runs), cursor=query.get("cursor"), limit=query["limit"])
        return Response(
            {
                "total_runs": runs.count(),
                "runs": [reports.run_row(run) for run in found],
                "next_cursor": following,
            }
        )


class TierMetricsView(AgentView):
    """`/metrics/tiers/{run_id}`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        responses=answers({200: TierMetricsOut}, 404),
        operation_id="tier_metrics",
        examples=shown(answered=read.METRICS_TIERS),
    )
    def get(self, request: Request, run_id: str) -> Response:
        """Show a run's tiers in figures, in index order."""
        self.require_run(run_id)
        return Response(reports.tier_figures(run_id))


class BudgetAnalysisView(AgentView):
    """`/reports/budget_analysis`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[BudgetAnalysisIn],
        responses=answers({200: BudgetAnalysisOut}),
        operation_id="budget_analysis",
        examples=shown(answered=read.BUDGET_ANALYSIS),
    )
    def get(self, request: Request) -> Response:
        """Show which budgets ended runs, where they struck, and whether audits helped."""
        query = self.query(BudgetAnalysisIn)
        since, until = query["since"], query["until"]
        runs = self.visible_runs().of_project(query.get("project_id"))
        failed = runs.ended_within(since, until).out_of_budget()
        found, following = page(reports.rows_of(failed), cursor=query.get("cursor"), limit=query["limit"])
        figures = reports.budget_figures(runs, since=since, until=until)
        failures = [reports.failure_row(run) for run in found]
        return Response({**figures, "failures": failures, "next_cursor": following})
