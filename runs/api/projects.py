"""Projects and their rulesets, a run's strategy and its promotion: for reading."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from runs.api import examples_read as read
from runs.api.paging import keyset_page
from runs.api.schema import answers, shown
from runs.api.serializers.projects import (
    PageIn,
    ProjectListOut,
    ProjectOut,
    ProjectRowOut,
    PromotionOut,
    RulesetListOut,
    RulesetRowOut,
)
from runs.api.views import ANY_ROLE, AgentView
from runs.errors import RunNotFound
from runs.promotion import reasons_against, remarks
from strategy.canonical import canonical_bytes
from strategy.errors import ProjectNotFound, RulesetNotFound
from strategy.models import Project, Ruleset, Strategy


class ReadView(AgentView):
    """A view of projects."""

    allowed_roles = ANY_ROLE

    def visible_projects(self) -> QuerySet[Project]:
        """Return the projects that the caller may know of."""
        scope = self.caller.project_scope
        projects = Project.objects.select_related("ruleset").defer("ruleset__document")
        return projects if scope is None else projects.filter(project_id=scope)

    def require_project(self, project_id: str) -> Project:
        """Return the project; raise ProjectNotFound."""
        project = self.visible_projects().filter(project_id=project_id).first()
        if project is None:
            raise ProjectNotFound(f"Project {project_id} not found")
        return project


class ProjectListView(ReadView):
    """`/projects`."""

    @extend_schema(
        parameters=[PageIn],
        responses=answers({200: ProjectListOut}),
        operation_id="list_projects",
        examples=shown(answered=read.PROJECTS),
    )
    def get(self, request: Request) -> Response:
        """List the projects that the token may see, by id."""
        query = self.query(PageIn)
        projects = self.visible_projects().defer("config", "ruleset__document")
        found, following = keyset_page(
            projects, ("project_id",), cursor=query.get("cursor"), limit=query["limit"]
        )
        return Response(
            {"projects": [ProjectRowOut(project).data for project in found], "next_cursor": following}
        )


class ProjectView(ReadView):
    """`/projects/{project_id}`."""

    @extend_schema(
        responses=answers({200: ProjectOut}, 404),
        operation_id="get_project",
        examples=shown(answered=read.PROJECT),
    )
    def get(self, request: Request, project_id: str) -> Response:
        """Show a project, its agents and its gates; never a command, an environment or a credential."""
        return Response(ProjectOut(self.require_project(project_id)).data)


class RulesetListView(ReadView):
    """`/projects/{project_id}/rulesets`."""

    @extend_schema(
        parameters=[PageIn],
        responses=answers({200: RulesetListOut}, 404),
        operation_id="list_rulesets",
        examples=shown(answered=read.RULESETS),
    )
    def get(self, request: Request, project_id: str) -> Response:
        """List the versions of a project's rules, newest first."""
        query = self.query(PageIn)
        project = self.require_project(project_id)
        found, following = keyset_page(
            Ruleset.objects.filter(project=project).defer("document"),
            ("-version",),
            cursor=query.get("cursor"),
            limit=query["limit"],
        )
        context = {"in_force": project.ruleset_id}
        return Response(
            {
                "project_id": project_id,
                "rulesets": [RulesetRowOut(row, context=context).data for row in found],
                "next_cursor": following,
            }
        )


class RulesetView(ReadView):
    """`/projects/{project_id}/rulesets/{version}`."""

    @extend_schema(
        responses=answers({200: OpenApiTypes.OBJECT}, 404),
        operation_id="get_ruleset",
        examples=shown(answered=read.RULESET),
    )
    def get(self, request: Request, project_id: str, version: int) -> HttpResponse:
        """Show one version's rules in canonical JSON; the ETag is the SHA-256 of the very bytes."""
        project = self.require_project(project_id)
        ruleset = Ruleset.objects.filter(project=project, version=version).first()
        if ruleset is None:
            raise RulesetNotFound(f"Project {project_id} has no ruleset {version}")
        return _canonical(canonical_bytes(ruleset.document), ruleset.sha256)


class StrategyView(ReadView):
    """`/runs/{run_id}/strategy`."""

    @extend_schema(
        responses=answers({200: OpenApiTypes.OBJECT}, 404),
        operation_id="get_strategy",
        examples=shown(answered=read.STRATEGY),
    )
    def get(self, request: Request, run_id: str) -> HttpResponse:
        """Show the run's frozen strategy in canonical JSON; the ETag is the SHA-256 of the very bytes."""
        strategy = (
            Strategy.objects.filter(run__in=self.visible_runs().filter(pk=run_id)).defer("document").first()
        )
        if strategy is None:
            raise RunNotFound(f"Run {run_id} not found")
        return _canonical(strategy.canonical.encode(), strategy.sha256)


def _canonical(content: bytes, sha256: str) -> HttpResponse:
    return HttpResponse(content, content_type="application/json", headers={"ETag": f'"{sha256}"'})


class PromotionView(ReadView):
    """`/runs/{run_id}/promotion`."""

    @extend_schema(
        responses=answers({200: PromotionOut}, 404),
        operation_id="get_promotion",
        examples=shown(answered=read.PROMOTION),
    )
    def get(self, request: Request, run_id: str) -> Response:
        """Say whether the run may be promoted, with every reason against it."""
        run = self.visible_runs().defer("config").prefetch_related("tiers").filter(pk=run_id).first()
        if run is None:
            raise RunNotFound(f"Run {run_id} not found")
        reasons = reasons_against(run, list(run.tiers.all()))
        answer = {
            "run_id": run_id,
            "state": run.state,
            "branch": run.branch,
            "head_commit": run.head_commit,
            "eligible": not reasons,
            "promotion_eligible_to_main": "false" if reasons else "true",
            "reasons": reasons,
            "remarks": remarks(run),
        }
        return Response(PromotionOut(answer).data)
