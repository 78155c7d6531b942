"""Errors that no API view answers: the admin gets Django's pages, everything else problem+json."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from autopack_site.kernel.problem import CONTENT_TYPE, document

_PAGES = "/admin/"


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 400: an unknown host name, a request that Django refuses to read."""
    if request.path.startswith(_PAGES):
        return defaults.bad_request(request, exception or Exception())
    return _problem(400, "bad-request", "Bad request", "The request can't be read as it was sent")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 403."""
    if request.path.startswith(_PAGES):
        return defaults.permission_denied(request, exception or Exception())
    return _problem(403, "forbidden", "Forbidden", "You may not do this")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404."""
    if request.path.startswith(_PAGES):
        return defaults.page_not_found(request, exception)
    return _problem(404, "no-route", "Not found", "Nothing is at this address")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500. Django has logged the exception."""
    if request.path.startswith(_PAGES):
        return defaults.server_error(request)
    detail = "Something failed on the server; the correlation id finds it in the log"
    return _problem(500, "internal", "Internal error", detail)


def _problem(status: int, code: str, title: str, detail: str) -> HttpResponse:
    body: dict[str, Any] = document(status=status, code=code, title=title, detail=detail)
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE)
