"""JUnit reports from elsewhere: failing cases become issues of a phase."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from integration.junit_import import failures_of
from issues.api.base import DocumentIn, FileView, TextXmlParser, XmlParser
from issues.api.entry_serializers import ImportedOut
from issues.api.examples import IMPORTED, JUNIT
from issues.api.exchange import imported_shape
from issues.batch import import_reports
from runs.api.parsers import BoundedJSONParser
from runs.api.schema import answers, shown


class TestsOut(serializers.Serializer[Any]):
    """How many cases the document really holds, by outcome."""

    __test__ = False

    tests = serializers.IntegerField()
    failures = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]  # what test runners call it
    skipped = serializers.IntegerField()


class JunitImportedOut(ImportedOut):
    """What an import brought, and what it read."""

    tests = TestsOut()


class ImportJunitView(FileView):
    """`/runs/{run_id}/phases/{phase_id}/import_junit`."""

    parser_classes = [XmlParser, TextXmlParser, BoundedJSONParser]

    @extend_schema(
        request={"application/xml": OpenApiTypes.STR, "application/json": DocumentIn},
        responses=answers({200: JunitImportedOut}, 404),
        operation_id="import_junit",
        examples=[
            OpenApiExample("file", JUNIT, request_only=True, media_type="application/xml"),
            *shown(
                sent={"document": JUNIT},
                answered={**IMPORTED, "tests": {"tests": 1, "failures": 1, "errors": 0, "skipped": 0}},
            ),
        ],
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Record each failing case of a JUnit report, up to 5,000, as a gate of Autopack's own would have done."""
        document = self.document()
        phase = self.named_phase(run_id, phase_id)
        found = failures_of(document, phase)
        report = found.report
        imported = import_reports(phase.pk, found.issues, reporter=self.caller.name)
        read = {
            "tests": report.tests, "failures": report.failures, "errors": report.errors, "skipped": report.skipped
        }  # fmt: skip
        return Response({**imported_shape(imported), "tests": read})
