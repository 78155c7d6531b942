"""One correlation id a request or task: taken from outside or made, bound to logs and rows, answered back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import structlog
from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse

from autopack_site.kernel.ids import new_id

HEADER = "X-Correlation-Id"
# In a message to a worker. Celery has a field `correlation_id` of its own (the task's id), which wins.
MESSAGE_HEADER = "autopack_correlation_id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def accepted_or_new(value: object) -> str:
    """Return value if it is a harmless id, else a new one: it ends up in logs and rows."""
    return value if isinstance(value, str) and _ACCEPTED.fullmatch(value) else new_id()


def bind(value: object, **fields: str) -> str:
    """Forget what was bound before; bind the id and fields to all that this thread logs and writes from now on.

    Returns the id: value, or a new one.
    """
    correlation_id = accepted_or_new(value)
    clear()
    structlog.contextvars.bind_contextvars(correlation_id=correlation_id, **fields)
    return correlation_id


def clear(**_: Any) -> None:
    """Forget what is bound."""
    structlog.contextvars.clear_contextvars()


class CorrelationMiddleware:
    """Bind the id and answer it back. It stands first, so that no answer is without."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Serve the request under its correlation id."""
        value = bind(request.headers.get(HEADER))
        response = self.get_response(request)
        response[HEADER] = value
        return response


# Not at the middleware's end: Django logs refused requests after it, and a stream is written after it.
request_finished.connect(clear, dispatch_uid="correlation")
