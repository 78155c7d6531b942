"""problem+json (RFC 9457) for every error of the API, always with `detail` kept for existing clients."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions
from rest_framework.response import Response

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.errors import problem as row

CONTENT_TYPE = "application/problem+json"
log = structlog.get_logger(__name__)


def correlation_id() -> str | None:
    """Return the id bound to this request or task, if one is."""
    return structlog.contextvars.get_contextvars().get("correlation_id")


def document(*, status: int, code: str, title: str, detail: Any, **extras: Any) -> dict[str, Any]:
    """Return a problem document. `detail` is a string, or for 422 a list of `{type, loc, msg}`."""
    return {
        **extras,
        "type": f"urn:autopack:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "correlation_id": correlation_id(),
    }


def validation_rows(detail: Any, loc: list[str | int]) -> list[dict[str, Any]]:
    """Flatten DRF's nested error detail into `{type, loc, msg}` rows."""
    if isinstance(detail, dict):
        rows: list[dict[str, Any]] = []
        for key, value in detail.items():
            rows += validation_rows(value, loc if key == "non_field_errors" else [*loc, key])
        return rows
    if isinstance(detail, list):
        rows = []
        for index, value in enumerate(detail):
            nested = isinstance(value, (dict, list))
            rows += validation_rows(value, [*loc, index] if nested else loc)
        return rows
    return [row(getattr(detail, "code", "value_error") or "value_error", loc, str(detail))]


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER: every error becomes a problem document; the unforeseen ones a logged 500."""
    headers: dict[str, str] = {}
    if isinstance(exc, Invalid):
        body = document(status=exc.status, code=exc.code, title=exc.title, detail=exc.problems, **exc.extras)
    elif isinstance(exc, AutopackError):
        body = document(status=exc.status, code=exc.code, title=exc.title, detail=exc.detail, **exc.extras)
        if exc.retryable:
            headers["Retry-After"] = str(exc.retry_after_s)
    elif isinstance(exc, exceptions.ValidationError):
        body = document(
            status=422,
            code="invalid",
            title="The input is not valid",
            detail=validation_rows(exc.detail, ["body"]),
        )
    elif isinstance(exc, exceptions.ParseError):
        body = document(
            status=422,
            code="invalid-json",
            title="The body is not valid JSON",
            detail=[row("json_invalid", ["body"], str(exc.detail))],
        )
    elif isinstance(exc, exceptions.APIException):
        code = exc.default_code.replace("_", "-")
        body = document(
            status=exc.status_code,
            code=code,
            title=HTTPStatus(exc.status_code).phrase,
            detail=str(exc.detail),
        )
        if getattr(exc, "auth_header", None):
            headers["WWW-Authenticate"] = exc.auth_header  # type: ignore[attr-defined]
        if getattr(exc, "wait", None):
            headers["Retry-After"] = f"{exc.wait:.0f}"  # type: ignore[attr-defined]
    elif isinstance(exc, (SuspiciousOperation, UnreadablePostError)):
        detail = "The request can't be read as it was sent"
        body = document(status=400, code="bad-request", title="Bad request", detail=detail)
    elif isinstance(exc, Http404):
        body = document(status=404, code="not-found", title="Not found", detail="Not found")
    elif isinstance(exc, PermissionDenied):
        body = document(status=403, code="forbidden", title="Forbidden", detail="You may not do this")
    else:
        log.exception("request.failed", error=type(exc).__name__)
        body = document(
            status=500,
            code="internal",
            title="Internal error",
            detail="Something failed on the server; the correlation id finds it in the log",
        )
    return Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)
