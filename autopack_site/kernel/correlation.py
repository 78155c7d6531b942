"""One correlation id a request: taken from `X-Correlation-Id` or made, bound to logs, answered back."""

from __future__ import annotations

import re
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from autopack_site.kernel.ids import new_id

HEADER = "X-Correlation-Id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def accepted_or_new(value: str | None) -> str:
    """Return value if it is a harmless id, else a new one: it ends up in logs and rows."""
    return value if value and _ACCEPTED.fullmatch(value) else new_id()


class CorrelationMiddleware:
    """Bind the id for the request's life and clear it afterwards."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request under its correlation id."""
        value = accepted_or_new(request.headers.get(HEADER))
        with structlog.contextvars.bound_contextvars(correlation_id=value):
            response = self.get_response(request)
        response[HEADER] = value
        return response
