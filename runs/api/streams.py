"""Answers that go on while something happens. Each holds a thread, so each takes a waiter's place."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack

from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.response import Response

from runs.waiting import WaitersFull, waiters

RETRY_AFTER_S = "2"
# The content is agents' and gates': no browser is to take it for a page, a script or something to guess at.
AS_TEXT = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class _Held:
    """Chunks of an answer, and the place that is held until it is closed, begun or not."""

    def __init__(self, chunks: Generator[bytes], place: ExitStack) -> None:
        self._chunks, self._place = chunks, place

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """End the stream; safe to repeat."""
        self._chunks.close()
        self._place.close()


def stream(chunks: Generator[bytes], *, content_type: str, headers: dict[str, str]) -> HttpResponseBase:
    """Return an answer that streams chunks from a waiter's place; 204 with Retry-After when all are taken."""
    place = ExitStack()
    try:
        place.enter_context(waiters.place())
    except WaitersFull:
        return Response(status=204, headers={"Retry-After": RETRY_AFTER_S})
    response = StreamingHttpResponse(
        _Held(chunks, place), content_type=content_type, headers={**AS_TEXT, **headers}
    )
    response["X-Accel-Buffering"] = "no"  # a proxy that collects would hold back what is new
    return response
