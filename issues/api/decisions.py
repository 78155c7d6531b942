"""What operators decide about an entry, each with a reason that its history keeps."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from issues.api.base import EntryView
from issues.api.entry_serializers import AcceptIn, EntryOut, MergeIssuesIn, ResolveIn, SplitIssueIn
from issues.api.examples import ENTRY
from issues.decisions import accept_entry, resolve_entry
from issues.entries import entry_shape
from issues.merging import merge_entries, split_name
from runs.api.schema import answers, shown

_UNTIL = "2026-06-30T00:00:00Z"


class _DecisionView(EntryView):
    allowed_roles = (Role.OPERATOR,)

    def answer(self, entry_id: int) -> Response:
        """Return the entry as it is now."""
        return Response(entry_shape(self.require_entry(entry_id)))


class AcceptView(_DecisionView):
    """`/project/issues/{entry_id}/accept`."""

    @extend_schema(
        request=AcceptIn,
        responses=answers({200: EntryOut}, 404, 409),
        operation_id="accept_issue",
        examples=shown(
            sent={"until": _UNTIL, "why": "Known, fixed in the next release"},
            answered={**ENTRY, "status": "accepted", "accepted_until": _UNTIL},
        ),
    )
    def post(self, request: Request, entry_id: int) -> Response:
        """Accept an entry until a time; then it is open again. Accepting it again moves the time."""
        body = self.body(AcceptIn)
        entry = self.require_entry(entry_id)
        accept_entry(entry.pk, until=body["until"], by=self.caller.name, why=body["why"])
        return self.answer(entry_id)


class ResolveView(_DecisionView):
    """`/project/issues/{entry_id}/resolve`."""

    @extend_schema(
        request=ResolveIn,
        responses=answers({200: EntryOut}, 404, 409),
        operation_id="resolve_issue",
        examples=shown(sent={"why": "The test is gone"}, answered={**ENTRY, "status": "resolved"}),
    )
    def post(self, request: Request, entry_id: int) -> Response:
        """Resolve an entry by hand; a later report opens it again, with `commit` only from a branch that has it."""
        body = self.body(ResolveIn)
        entry = self.require_entry(entry_id)
        resolve_entry(entry.pk, by=self.caller.name, why=body["why"], commit=body.get("commit", ""))
        return self.answer(entry_id)


class MergeView(_DecisionView):
    """`/project/issues/{entry_id}/merge`."""

    @extend_schema(
        request=MergeIssuesIn,
        responses=answers({200: EntryOut}, 404, 409),
        operation_id="merge_issues",
        examples=shown(sent={"entries": [18, 21], "why": "One leak, seen by three tools"}, answered=ENTRY),
    )
    def post(self, request: Request, entry_id: int) -> Response:
        """Make other entries one with this one, which keeps its key; later reports of their names go here."""
        body = self.body(MergeIssuesIn)
        entry = self.require_entry(entry_id)
        for other in body["entries"]:
            self.require_entry(other)
        merge_entries(entry.pk, body["entries"], by=self.caller.name, why=body["why"])
        return self.answer(entry_id)


class SplitView(_DecisionView):
    """`/project/issues/{entry_id}/split`."""

    @extend_schema(
        request=SplitIssueIn,
        responses=answers({200: EntryOut}, 404, 409),
        operation_id="split_issue",
        examples=shown(
            sent={"name_id": 7, "why": "Another test of the same name"},
            answered={**ENTRY, "occurrence_count": 0},
        ),
    )
    def post(self, request: Request, entry_id: int) -> Response:
        """Make a name an issue of its own, which is answered; later reports of the name go there."""
        body = self.body(SplitIssueIn)
        entry = self.require_entry(entry_id)
        new = split_name(
            entry.pk, body["name_id"], by=self.caller.name, why=body["why"], as_key=body.get("issue_key", "")
        )
        return self.answer(new.pk)
