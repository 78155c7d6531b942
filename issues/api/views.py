"""The issue routes: record, a run's index, a project's backlog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.errors import Invalid, problem
from autopack_site.kernel.problem import validation_rows
from issues import services, shapes
from issues.api.base import ReportView
from issues.api.examples import BACKLOG_ENTRY, INDEX_ENTRY, KEY, RECORDED
from issues.api.serializers import (
    BacklogOut,
    BacklogQueryIn,
    EvidenceIn,
    IssueIn,
    IssueQueryIn,
    RecordedOut,
    RunIndexOut,
)
from runs.api import examples
from runs.api.parsers import query_values
from runs.api.schema import answers, shown
from runs.api.views import ANY_ROLE, AgentView
from runs.errors import RunNotFound
from runs.ports import IssueReport
from strategy.services import project_for

PAGE = 5000  # entries of a backlog that are in memory at once


class RecordIssueView(ReportView):
    """Record what somebody saw in a phase, also after it has ended."""

    @extend_schema(
        parameters=[IssueQueryIn],
        request=IssueIn,
        responses=answers({200: RecordedOut}, 404),
        operation_id="record_issue",
        examples=shown(sent={**examples.ISSUE, "source": "probe"}, answered=RECORDED),
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Record one issue, by query parameters with a bare list of evidence or as one JSON object."""
        report = self._report()
        phase = self.key_of_phase(run_id, phase_id)
        [shared] = services.record_reports(phase, [report], reporter=self.caller.name)
        return Response(
            {
                "message": f"Issue {report.issue_key} recorded",
                "phase_file": shared.phase_file,
                "run_index_entry": shared.run_index_entry,
                "project_backlog_entry": shared.project_backlog_entry,
            }
        )

    def _report(self) -> IssueReport:
        """Read either form. An object may leave to the query parameters what it does not hold itself."""
        body = self.request.data
        if isinstance(body, dict) and body:
            fields = self.body(IssueIn, **{**query_values(self.request), **body})
        elif not body or isinstance(body, list):
            fields = {**self.query(IssueQueryIn), "evidence_refs": _evidence(body or [])}
        else:
            message = "The body must be a list of evidence strings or one JSON object"
            raise Invalid([problem("list_type", ["body"], message)])
        fields["evidence_refs"] = tuple(fields.get("evidence_refs", ()))
        return IssueReport(**fields)


class IssueIndexView(AgentView):
    """A run's issues by key."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        responses=answers({200: RunIndexOut}, 404),
        operation_id="issue_index",
        examples=shown(answered={"run_id": examples.RUN_ID, "issues_by_key": {KEY: INDEX_ENTRY}}),
    )
    def get(self, request: Request, run_id: str) -> Response:
        """Return the whole index."""
        run = self.visible_runs().filter(pk=run_id).only("run_id").first()
        if run is None:
            raise RunNotFound(f"Run {run_id} not found")
        return Response(shapes.run_index(run))


class BacklogView(AgentView):
    """A project's backlog by key."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[BacklogQueryIn],
        responses=answers({200: BacklogOut}, 404),
        operation_id="issue_backlog",
        examples=shown(answered={"project_id": "shop", "issues_by_key": {KEY: BACKLOG_ENTRY}}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return the whole backlog, resolved entries too. A long one is sent while it is read."""
        project = project_for(self.project_id(self.query(BacklogQueryIn).get("project_id")))
        pages = shapes.backlog_pages(project, PAGE)
        first = next(pages)
        if len(first) < PAGE:
            return Response({"project_id": project.project_id, "issues_by_key": dict(first)})
        parts = _written(project.project_id, chain([first], pages))
        return StreamingHttpResponse(parts, content_type=JSONRenderer.media_type)


def _written(project_id: str, pages: Iterable[list[tuple[str, shapes.Shape]]]) -> Iterator[bytes]:
    """Write the backlog as the renderer would, a page at a time."""
    render = JSONRenderer().render
    yield b'{"project_id":' + render(project_id) + b',"issues_by_key":{'
    between = b""
    for page in pages:
        if page:
            yield between + render(dict(page))[1:-1]
            between = b","
    yield b"}}"


def _evidence(body: Any) -> list[str]:
    try:
        refs: list[str] = EvidenceIn().run_validation(body)
    except ValidationError as error:
        raise Invalid(validation_rows(error.detail, ["body"])) from error
    return refs
