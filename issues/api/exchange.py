"""Issues in files: a run's or a backlog's out, as CSV or JUnit XML; CSV in."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict
from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from issues import exports
from issues.api.base import DocumentIn, FileView
from issues.api.entry_serializers import BacklogExportIn, ImportedOut, RunExportIn, wanted_of
from issues.api.examples import CSV, IMPORTED, JUNIT_OUT
from issues.batch import Imported, import_reports
from issues.exchange import read_csv
from runs.api.schema import answers, shown
from runs.api.streams import stream
from runs.api.views import ANY_ROLE, AgentView
from strategy.services import project_for

_FULL = OpenApiResponse(description="Too many exports are read already; come back after Retry-After.")
_FILES = {(200, "text/csv"): OpenApiTypes.STR, (200, "application/xml"): OpenApiTypes.STR, 204: _FULL}
_SHOWN = [
    *shown(answered=CSV, media_type="text/csv"),
    OpenApiExample(
        "junit", JUNIT_OUT, response_only=True, status_codes=["200"], media_type="application/xml"
    ),
]


class RunExportView(AgentView):
    """`/runs/{run_id}/issues/export`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[RunExportIn],
        responses=answers(_FILES, 404),
        operation_id="export_run_issues",
        examples=_SHOWN,
    )
    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """Download what a run's phases saw, a row for each phase and key."""
        form: exports.Form = self.query(RunExportIn)["form"]
        self.require_run(run_id)
        return _download(exports.of_run(run_id, form), f"{run_id}-issues", form)


class BacklogExportView(AgentView):
    """`/project/issues/export`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[BacklogExportIn],
        responses=answers(_FILES, 404),
        operation_id="export_issues",
        examples=_SHOWN,
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Download a project's backlog, or the entries of it that filters find, the oldest first."""
        query = self.query(BacklogExportIn)
        project = project_for(self.project_id(query.get("project_id")))
        form: exports.Form = query["form"]
        chunks = exports.of_backlog(project.pk, wanted_of(query), form)
        return _download(chunks, f"{project.project_id}-backlog", form)


def _download(chunks: Generator[bytes], name: str, form: exports.Form) -> HttpResponseBase:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{exports.ENDINGS[form]}"'}
    return stream(chunks, content_type=exports.CONTENT_TYPES[form], headers=headers)


def imported_shape(imported: Imported) -> dict[str, Any]:
    """Return what an import's route answers."""
    return {"message": f"{imported.reports} issues recorded", **asdict(imported)}


class ImportCsvView(FileView):
    """`/runs/{run_id}/phases/{phase_id}/import_csv`."""

    @extend_schema(
        request={"text/csv": OpenApiTypes.STR, "application/json": DocumentIn},
        responses=answers({200: ImportedOut}, 404),
        operation_id="import_csv",
        examples=[
            OpenApiExample("file", CSV, request_only=True, media_type="text/csv"),
            *shown(sent={"document": CSV}, answered=IMPORTED),
        ],
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Record the rows of a CSV file, up to 5,000: all of them, or none when one is wrong.

        The first row names the columns: `issue_key`, `severity` and `category`, and maybe `source`, `task_category`,
        `complexity`, `expected_fail`, `description`, `evidence_refs`; other columns of exports are passed over. What
        is wrong is told with its line and column.
        """
        reports = read_csv(self.document())
        phase = self.key_of_phase(run_id, phase_id)
        return Response(imported_shape(import_reports(phase, reports, reporter=self.caller.name)))
