"""A backlog's entries: listed, counted, shown with their lives."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from issues import search
from issues.api.base import EntryView
from issues.api.entry_serializers import (
    EntryFilterIn,
    EntryListIn,
    EntryListOut,
    EntryOut,
    FacetsOut,
    TimelineOut,
    wanted_of,
)
from issues.api.examples import ENTRY, ENTRY_ROW, EVENT, FACETS, KEY
from issues.entries import entry_shape, event_shape, row_shape
from issues.models import BacklogEvent
from runs.api.paging import keyset_page
from runs.api.schema import answers, shown
from runs.api.serializers.projects import PageIn
from runs.api.views import ANY_ROLE, AgentView
from strategy.services import project_for


class EntryListView(AgentView):
    """`/project/issues`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[EntryListIn],
        responses=answers({200: EntryListOut}, 404),
        operation_id="list_issues",
        examples=shown(answered={"project_id": "shop", "entries": [ENTRY_ROW], "next_cursor": None}),
    )
    def get(self, request: Request) -> Response:
        """List a project's backlog, the newest entries first: by filters, and by words."""
        query = self.query(EntryListIn)
        project = project_for(self.project_id(query.get("project_id")))
        found, following = keyset_page(
            search.with_votes(search.entries(project.pk, wanted_of(query)).only(*search.LISTED)),
            search.NEWEST,
            cursor=query.get("cursor"),
            limit=query["limit"],
        )
        rows = [row_shape(entry) for entry in found]
        return Response({"project_id": project.project_id, "entries": rows, "next_cursor": following})


class FacetsView(AgentView):
    """`/project/issues/facets`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[EntryFilterIn],
        responses=answers({200: FacetsOut}, 404),
        operation_id="issue_facets",
        examples=shown(answered={"project_id": "shop", **FACETS}),
    )
    def get(self, request: Request) -> Response:
        """Count a project's entries by status, severity and category; no count goes beyond 10,000."""
        query = self.query(EntryFilterIn)
        project = project_for(self.project_id(query.get("project_id")))
        counted = search.facets(project.pk, wanted_of(query))
        told = {
            name: [
                {"value": facet.value, "count": facet.count, "is_at_least": facet.is_at_least}
                for facet in values
            ]
            for name, values in counted.items()
        }
        return Response({"project_id": project.project_id, **told})


class EntryDetailView(EntryView):
    """`/project/issues/{entry_id}`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        responses=answers({200: EntryOut}, 404),
        operation_id="get_issue",
        examples=shown(answered=ENTRY),
    )
    def get(self, request: Request, entry_id: int) -> Response:
        """Show one entry with the evidence of its newest sightings."""
        return Response(entry_shape(self.require_entry(entry_id)))


class TimelineView(EntryView):
    """`/project/issues/{entry_id}/timeline`."""

    allowed_roles = ANY_ROLE

    @extend_schema(
        parameters=[PageIn],
        responses=answers({200: TimelineOut}, 404),
        operation_id="issue_timeline",
        examples=shown(answered={"id": 17, "issue_key": KEY, "events": [EVENT], "next_cursor": None}),
    )
    def get(self, request: Request, entry_id: int) -> Response:
        """Show everything that happened to an entry, oldest first."""
        query = self.query(PageIn)
        entry = self.require_entry(entry_id)
        found, following = keyset_page(
            BacklogEvent.objects.filter(entry=entry),
            ("id",),
            cursor=query.get("cursor"),
            limit=query["limit"],
        )
        events = [event_shape(event) for event in found]
        return Response(
            {"id": entry.pk, "issue_key": entry.issue_key, "events": events, "next_cursor": following}
        )
