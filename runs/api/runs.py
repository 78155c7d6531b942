"""Runs: start, show, list, history, branch, cancel."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from runs import ports, rows, services
from runs.api import examples
from runs.api.paging import page
from runs.api.schema import answers, shown
from runs.api.serializers.runs import (
    BranchOut,
    CancelIn,
    RunListIn,
    RunListOut,
    RunOut,
    RunRowOut,
    StartIn,
    run_response,
)
from runs.api.views import ANY_ROLE, STARTER, AgentView
from runs.errors import RunNotFound
from runs.models import Run
from runs.plan import plan_from_json
from strategy.types import RunOptions


def run_shown(run_id: str, *, scope: str | None) -> dict[str, object]:
    """Return RunResponse in two queries, whatever the size of the plan; raise RunNotFound.

    `scope` is the project that the caller is held to; None is all.
    """
    found = rows.run_shown.first(run_id) if scope is None else rows.run_shown_of.first(run_id, scope)
    if found is None:
        raise RunNotFound(f"Run {run_id} not found")
    return run_response(found, rows.plan_shown(run_id))


class RunView(AgentView):
    """`/runs/{run_id}`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        responses=answers({200: RunOut}, 404), operation_id="get_run", examples=shown(answered=examples.RUN)
    )
    def get(self, request: Request, run_id: str) -> Response:
        """Show a run with its tiers and phases."""
        return Response(run_shown(run_id, scope=self.caller.project_scope))


class StartView(RunView):
    """`/runs/start`. A GET is about a run of that name: the path is both."""

    def needed_roles(self) -> tuple[str, ...]:
        """Starting needs its own role."""
        return (STARTER,) if self.request.method == "POST" else ANY_ROLE

    @extend_schema(
        request=StartIn,
        responses=answers({201: RunOut}, 400, 404),
        operation_id="start_run",
        examples=shown(sent=examples.START, answered=examples.RUN, status=201),
    )
    def post(self, request: Request) -> Response:
        """Start a run. A plan document of many phases becomes linked runs: the first one is answered."""
        body = self.body(StartIn)
        asked = body["run"]
        project_id = self.project_id(body.get("project_id") or asked.get("project_id"))
        options = RunOptions(
            safety_profile=asked.get("safety_profile"),
            run_scope=asked.get("run_scope"),
            token_cap=asked.get("token_cap"),
            max_phases=asked.get("max_phases"),
            max_duration_minutes=asked.get("max_duration_minutes"),
        )
        by, run_id, headers = self.caller.name, asked["run_id"], {}
        if body.get("plan") is not None:
            runs = services.start_plan_document(
                run_id, project_id=project_id, text=body["plan"], options=options, by=by
            )
            headers = _links(runs[1:])
        else:
            plan = plan_from_json(body["tiers"], body["phases"])
            services.start_run(run_id, project_id=project_id, plan=plan, options=options, by=by)
        return Response(run_shown(run_id, scope=self.caller.project_scope), status=201, headers=headers)

    @extend_schema(exclude=True)
    def get(self, request: Request, run_id: str = "start") -> Response:
        """Show the run named `start`, if there is one."""
        return super().get(request, run_id)


def _links(following: list[Run]) -> dict[str, str]:
    links = ", ".join(f'</runs/{run.run_id}>; rel="next"' for run in following)
    return {"Link": links} if links else {}


class RunListView(AgentView):
    """`/runs`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[RunListIn],
        responses=answers({200: RunListOut}),
        operation_id="list_runs",
        examples=shown(answered={"runs": [examples.RUN_ROW], "next_cursor": None}),
    )
    def get(self, request: Request) -> Response:
        """List the runs that the token may see, newest first."""
        query = self.query(RunListIn)
        runs = self.visible_runs().defer("config").select_related("project")
        if "state" in query:
            runs = runs.filter(state=query["state"])
        if "project_id" in query:
            runs = runs.filter(project__project_id=query["project_id"])
        found, following = page(runs, cursor=query.get("cursor"), limit=query["limit"])
        return Response({"runs": [RunRowOut(run).data for run in found], "next_cursor": following})


class IntegrationStatusView(AgentView):
    """`/runs/{run_id}/integration_status`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        responses=answers({200: BranchOut}, 404),
        operation_id="integration_status",
        examples=shown(
            answered={
                "branch": f"autonomous/{examples.RUN_ID}",
                "exists": True,
                "commit_count": 1,
                "latest_commit": f"{examples.COMMIT} discount: Discounts",
                "ahead_of_main": 1,
                "behind_main": 0,
            }
        ),
    )
    def get(self, request: Request, run_id: str) -> Response:
        """Show the run's branch as git has it."""
        self.require_run(run_id)
        return Response(ports.workspace().branch_status(run_id))


class CancelView(AgentView):
    """`/runs/{run_id}/cancel`."""

    allowed_roles = (Role.OPERATOR,)

    @extend_schema(
        request=CancelIn,
        responses=answers({200: RunOut}, 404, 409),
        operation_id="cancel_run",
        examples=shown(
            sent={"why": "The plan was wrong"},
            answered={
                **examples.RUN,
                "state": "DONE_CANCELLED",
                "completed_at": examples.LATER,
                "failure_reason": "The plan was wrong",
            },
        ),
    )
    def post(self, request: Request, run_id: str) -> Response:
        """End the run as DONE_CANCELLED."""
        body = self.body(CancelIn)
        self.require_run(run_id)
        services.cancel_run(run_id, by=self.caller.name, why=body["why"] or "")
        return Response(run_shown(run_id, scope=self.caller.project_scope))
