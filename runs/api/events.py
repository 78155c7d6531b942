"""A run's history: as pages, and as server-sent events."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from typing import Any

from django.conf import settings
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.errors import Invalid, problem
from runs.api import examples
from runs.api import examples_read as read
from runs.api.schema import answers, shown
from runs.api.serializers.runs import EventListIn, EventListOut, EventOut
from runs.api.streams import stream
from runs.api.views import ANY_ROLE, AgentView
from runs.models import Run, Transition

STREAM_TYPE = "text/event-stream"
INTERVAL_S = 0.25
HEARTBEAT_S = 15.0
RETRY_MS = 2000
BATCH = 500
MAX_ID = 2**62
_LAST_EVENT = OpenApiParameter(
    "Last-Event-ID", OpenApiTypes.INT64, OpenApiParameter.HEADER, description="Resume after this event"
)
_OVER = OpenApiResponse(
    description="The run has ended and everything was seen. With Retry-After: too many wait here already."
)


class _EventView(AgentView):
    allowed_roles = ANY_ROLE

    def streamed(self, request: Request, run_id: str) -> HttpResponseBase:
        """Return the stream of the events after `Last-Event-ID`, or after `after`."""
        after = _last_event(request)
        if after is None:
            after = self.query(EventListIn)["after"]
        self.require_run(run_id)
        if has_ended(run_id) and not _events(run_id, after).exists():
            return Response(status=204)  # tells a browser's EventSource to stop asking
        return stream(
            sse(run_id, after, limit_s=settings.STREAM_LIMIT_S), content_type=STREAM_TYPE, headers={}
        )


class EventsView(_EventView):
    """`/runs/{run_id}/events`."""

    @extend_schema(
        parameters=[EventListIn],
        responses=answers({200: EventListOut}, 404),
        operation_id="list_events",
        examples=shown(answered=examples.EVENTS),
    )
    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """List a run's transitions and observations, oldest first; `Accept: text/event-stream` streams them."""
        if STREAM_TYPE in request.headers.get("Accept", ""):
            return self.streamed(request, run_id)
        query = self.query(EventListIn)
        self.require_run(run_id)
        found = list(_events(run_id, query["after"])[: query["limit"] + 1])
        events = found[: query["limit"]]
        return Response(
            {
                "run_id": run_id,
                "events": [EventOut(event).data for event in events],
                "next_after": events[-1].pk if events else query["after"],
                "has_more": len(found) > len(events),
            }
        )


class EventStreamView(_EventView):
    """`/runs/{run_id}/events/stream`."""

    @extend_schema(
        parameters=[EventListIn, _LAST_EVENT],
        responses=answers({(200, STREAM_TYPE): OpenApiTypes.STR, 204: _OVER}, 404),
        operation_id="stream_events",
        examples=shown(answered=read.EVENT_STREAM, media_type=STREAM_TYPE),
    )
    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """Stream a run's events as they happen, as server-sent events, until it has ended."""
        return self.streamed(request, run_id)


def sse(run_id: str, after: int, *, limit_s: float) -> Generator[bytes]:
    """Yield a run's events above `after` as server-sent events, then `end`; at the most for limit_s seconds.

    Ids of one run's events grow as they commit: its row's lock orders them. A comment every HEARTBEAT_S shows a
    client, and us, that the other side is there.
    """
    yield f"retry: {RETRY_MS}\n\n".encode()
    deadline = time.monotonic() + limit_s
    quiet_since = time.monotonic()
    while True:
        is_over = has_ended(run_id)  # asked first: what came before the end is then read below
        events = list(_events(run_id, after)[:BATCH])
        for event in events:
            after, quiet_since = event.pk, time.monotonic()
            yield _message(f"{event.machine}.{event.event}", EventOut(event).data, event.pk)
        if is_over and len(events) < BATCH:
            yield _message("end", {"run_id": run_id}, None)
            return
        now = time.monotonic()
        if now >= deadline:
            return
        if now - quiet_since >= HEARTBEAT_S:
            quiet_since = now
            yield b": heartbeat\n\n"
        if len(events) < BATCH:
            time.sleep(min(INTERVAL_S, deadline - now))


def has_ended(run_id: str) -> bool:
    """Tell whether the run has ended."""
    return not Run.objects.active().filter(pk=run_id).exists()


def _events(run_id: str, after: int) -> Any:
    return Transition.objects.filter(run_id=run_id, id__gt=after).order_by("id")


def _message(name: str, data: Any, event_id: int | None) -> bytes:
    """Return one message. JSON text holds no line break, so agents' words can't begin a field of their own."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _last_event(request: Request) -> int | None:
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID):
        raise Invalid(
            [problem("int_parsing", ["header", "Last-Event-ID"], "An event's id is a whole number")]
        )
    return int(text)
