"""Byte ranges (RFC 9110, section 14): one range a request; what can't be read as one means the whole."""

from __future__ import annotations

import re

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request

from autopack_site.kernel.errors import AutopackError
from integration.logs import Slice
from runs.api.streams import AS_TEXT

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


class RangeNotSatisfiable(AutopackError):
    """The range begins behind the last byte."""

    code, status = "range-not-satisfiable", 416
    title = "No byte is in this range"


def span_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return which of size bytes a Range header asks for, as (first, behind the last); None means the whole.

    Raises RangeNotSatisfiable.
    """
    match = _RANGE.fullmatch((header or "").strip().replace(" ", ""))
    if match is None:
        return None
    if match[3] is not None:
        start, end = max(0, size - int(match[3])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable(f"There are {size} bytes", size_bytes=size)
    return start, end


def asked(request: Request, etag: str | None = None) -> str | None:
    """Return the Range header, unless If-Range names another state of the content than etag."""
    condition = request.headers.get("If-Range")
    if condition is not None and condition != etag:
        return None
    return request.headers.get("Range")


def answer(
    source: bytes | Slice,
    size: int,
    span: tuple[int, int] | None,
    *,
    content_type: str,
    headers: dict[str, str],
) -> HttpResponseBase:
    """Return 200 with all size bytes, or 206 with the span that was asked for."""
    start, end = span or (0, size)
    status = 200 if span is None else 206
    told = {**AS_TEXT, **headers, "Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if span is not None:
        told["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if isinstance(source, bytes):
        return HttpResponse(source[start:end], status=status, content_type=content_type, headers=told)
    source.select(start, end)
    return StreamingHttpResponse(source, status=status, content_type=content_type, headers=told)
