"""Many reports in one call."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from issues.api.base import ReportView
from issues.api.examples import RECORDED
from issues.api.serializers import IssueIn, RecordedOut
from issues.batch import MAX_REPORTS, record_batch
from runs.api import examples
from runs.api.schema import answers, shown
from runs.ports import IssueReport

_SENT = {"issues": [{**examples.ISSUE, "source": "probe"}]}


class BatchIn(serializers.Serializer[Any]):
    """Reports, each as `record_issue` takes one."""

    issues = serializers.ListField(child=IssueIn(), max_length=MAX_REPORTS)


class BatchOut(serializers.Serializer[Any]):
    """What each report touched, in the order of the reports, as it is after all of them."""

    message = serializers.CharField()
    recorded = RecordedOut(many=True)


class RecordIssuesView(ReportView):
    """`/runs/{run_id}/phases/{phase_id}/record_issues`."""

    @extend_schema(
        request=BatchIn,
        responses=answers({200: BatchOut}, 404),
        operation_id="record_issues",
        examples=shown(sent=_SENT, answered={"message": "1 issues recorded", "recorded": [RECORDED]}),
    )
    def post(self, request: Request, run_id: str, phase_id: str) -> Response:
        """Record up to 1,000 issues: all of them, or none when one breaks a rule; `loc` names it by its index.

        Of an issue's evidence the answer shows the last 20 pieces.
        """
        rows = self.body(BatchIn)["issues"]
        reports = [
            IssueReport(**{**row, "evidence_refs": tuple(row.get("evidence_refs", ()))}) for row in rows
        ]
        phase = self.key_of_phase(run_id, phase_id)
        touched = record_batch(phase, reports, reporter=self.caller.name)
        recorded = [
            {
                "message": f"Issue {report.issue_key} recorded",
                "phase_file": shared.phase_file,
                "run_index_entry": shared.run_index_entry,
                "project_backlog_entry": shared.project_backlog_entry,
            }
            for report, shared in zip(reports, touched, strict=True)
        ]
        return Response({"message": f"{len(reports)} issues recorded", "recorded": recorded})
