"""Plans and rulesets, tried without storing anything."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from autopack_site.kernel.errors import Invalid, problem
from runs import trials
from runs.api import examples_trials as tried
from runs.api.projects import ReadView
from runs.api.schema import answers, shown
from runs.api.serializers.trials import (
    CheckOut,
    ClassificationOut,
    ConvertOut,
    DryRunIn,
    DryRunOut,
    ExplainOut,
    PlanIn,
    ProjectPlanIn,
    ReplayIn,
    ReplayOut,
    SplitIn,
    SplitOut,
)
from runs.api.views import ANY_ROLE, AgentView
from runs.classification import classification_of
from runs.plan_split import parts_shown, split_plan
from runs.plan_texts import both_forms, is_json, problems_of, read_plan_rows, read_plan_text
from runs.replay import replay
from strategy.models import Project
from strategy.services import project_for
from strategy.types import Plan, RunOptions


class _PlanView(AgentView):
    allowed_roles = ANY_ROLE

    def project(self, body: dict[str, Any]) -> Project:
        """Return the project that the request means. Raises ProjectNotFound and NoProject."""
        return project_for(self.project_id(body.get("project_id")))


class PlanCheckView(_PlanView):
    """`/plans/check`."""

    @extend_schema(
        request=ProjectPlanIn,
        responses=answers({200: CheckOut}, 404),
        operation_id="check_plan",
        examples=shown(sent=tried.CHECK, answered=tried.CHECKED),
    )
    def post(self, request: Request) -> Response:
        """List every fault of a plan, each with its line. With a project its named scopes are looked up as well."""
        body = self.body(ProjectPlanIn)
        asked = self.project_id(body.get("project_id"))
        given = body["plan"] if body.get("plan") is not None else _rows(body)
        plan, rows = problems_of(given, project_for(asked) if asked is not None else None)
        answer = {
            "is_valid": not rows,
            "tier_count": None if plan is None else len(plan.tiers),
            "phase_count": None if plan is None else len(plan.phases),
            "problems": rows,
        }
        return Response(CheckOut(answer).data)


class PlanExplainView(_PlanView):
    """`/plans/explain`."""

    @extend_schema(
        request=ProjectPlanIn,
        responses=answers({200: ExplainOut}, 400, 404),
        operation_id="explain_plan",
        examples=shown(sent=tried.EXPLAIN, answered=tried.EXPLAINED),
    )
    def post(self, request: Request) -> Response:
        """Say what each phase is taken for and what it would get under the ruleset in force, with every reason."""
        body = self.body(ProjectPlanIn)
        plan = _plan(body)
        answer = trials.explain(self.project(body), plan, options=_options(body), splits=_splits(body))
        return Response(ExplainOut(answer).data)


class PlanSplitView(_PlanView):
    """`/plans/split`."""

    @extend_schema(
        request=SplitIn,
        responses=answers({200: SplitOut}, 400, 404),
        operation_id="split_plan",
        examples=shown(sent=tried.SPLIT, answered=tried.SPLITTED),
    )
    def post(self, request: Request) -> Response:
        """Show the linked runs that a plan of more phases than one run may have would become."""
        body = self.body(SplitIn)
        plan = _plan(body)
        limit = body.get("max_phases")
        if limit is None:
            limit = trials.split_limit(self.project(body), plan)
        rows = parts_shown(split_plan(plan, limit), body["run_id"])
        return Response(SplitOut({"max_phases": limit, "runs": rows}).data)


class PlanConvertView(_PlanView):
    """`/plans/convert`."""

    @extend_schema(
        request=PlanIn,
        responses=answers({200: ConvertOut}, 400),
        operation_id="convert_plan",
        examples=shown(sent=tried.EXPLAIN, answered=tried.CONVERTED),
    )
    def post(self, request: Request) -> Response:
        """Give a plan in both forms: as a document and as the JSON of a start request."""
        return Response(ConvertOut(both_forms(_plan(self.body(PlanIn)))).data)


class DryRunView(ReadView):
    """`/projects/{project_id}/rulesets/dry_run`."""

    allowed_roles = (Role.OPERATOR,)

    @extend_schema(
        request=DryRunIn,
        responses=answers({200: DryRunOut}, 400, 404),
        operation_id="dry_run_ruleset",
        examples=shown(sent=tried.DRY_RUN, answered=tried.DRY_RAN),
    )
    def post(self, request: Request, project_id: str) -> Response:
        """Show what a ruleset would make of a plan, and how that differs from the one in force. Nothing is stored."""
        body = self.body(DryRunIn)
        project = self.require_project(project_id)
        plan = _plan(body)
        ruleset = _ruleset(project, body["ruleset"])
        answer = trials.dry_run(project, ruleset, plan, options=_options(body), splits=_splits(body))
        return Response(DryRunOut(answer).data)


class ReplayView(ReadView):
    """`/projects/{project_id}/rulesets/replay`."""

    allowed_roles = (Role.OPERATOR,)

    @extend_schema(
        request=ReplayIn,
        responses=answers({200: ReplayOut}, 404),
        operation_id="replay_ruleset",
        examples=shown(sent=tried.REPLAY, answered=tried.REPLAYED),
    )
    def post(self, request: Request, project_id: str) -> Response:
        """Hold a ruleset against what is recorded of the project's last ended runs. Nothing is stored."""
        body = self.body(ReplayIn)
        project = self.require_project(project_id)
        answer = replay(project, _ruleset(project, body["ruleset"]), runs=body["runs"])
        return Response(ReplayOut(answer).data)


class ClassificationView(ReadView):
    """`/projects/{project_id}/classification`."""

    @extend_schema(
        responses=answers({200: ClassificationOut}, 404),
        operation_id="get_classification",
        examples=shown(answered=tried.CLASSIFICATION),
    )
    def get(self, request: Request, project_id: str) -> Response:
        """Show the words and paths by which a phase that does not say what it is is classified."""
        return Response(ClassificationOut(classification_of(self.require_project(project_id))).data)


def _plan(body: dict[str, Any]) -> Plan:
    """Return the checked plan of a body in either form. Raises Invalid with every fault."""
    return read_plan_text(body["plan"]) if body.get("plan") is not None else read_plan_rows(_rows(body))


def _rows(body: dict[str, Any]) -> dict[str, Any]:
    return {"tiers": body["tiers"], "phases": body["phases"]}


def _splits(body: dict[str, Any]) -> bool:
    """Tell whether a plan that is too large would be split: a document is, JSON is refused."""
    return body.get("plan") is not None and not is_json(body["plan"])


def _options(body: dict[str, Any]) -> RunOptions:
    return RunOptions(**body.get("run", {}))


def _ruleset(project: Project, given: Any) -> dict[str, Any]:
    """Return the ruleset as it would be stored. Raises Invalid; what is wrong is told as a place of the body."""
    try:
        return trials.candidate(project, given)
    except Invalid as error:
        rows = [problem(row["type"], ["body", "ruleset", *row["loc"]], row["msg"]) for row in error.problems]
        raise Invalid(rows) from None
