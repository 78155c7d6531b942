"""What the OpenAPI document says beyond what the views show: the token, and the problem documents."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from runs.api.serializers.common import ProblemOut

_WORDS = {
    400: "Refused as it stands",
    401: "No valid token",
    403: "The token's roles do not allow it",
    404: "Not there, or not for this token",
    409: "The present state does not allow it",
    411: "The body came in chunks, without its length",
    413: "The body is too large",
    415: "Not JSON",
    416: "No byte is in this range",
    422: "Not valid; `detail` is a list of `{type, loc, msg}`",
    503: "Not ready",
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Bearer TOKEN`."""

    target_class = "runs.api.authentication.TokenAuthentication"
    match_subclasses = True
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the scheme as OpenAPI writes it."""
        return {"type": "http", "scheme": "bearer"}


def answers(ok: dict[Any, Any], *problems: int) -> dict[Any, Any]:
    """Return a view's `responses`: the good ones, then problem+json for each other status.

    Every route behind a token may answer 401, 403 and 422.
    """
    found: dict[Any, Any] = dict(ok)
    for status in sorted({401, 403, 422, *problems}):
        found[status, "application/problem+json"] = OpenApiResponse(ProblemOut, _WORDS[status])
    return found


def shown(
    *,
    sent: Any = None,
    answered: Any = None,
    status: int | tuple[int, ...] = 200,
    media_type: str = "application/json",
) -> list[OpenApiExample]:
    """Return a route's `examples`, for `extend_schema`: the body that is sent, and the answer with its statuses."""
    found = []
    codes = [status] if isinstance(status, int) else list(status)
    if sent is not None:
        found.append(OpenApiExample("sent", sent, request_only=True))
    if answered is not None:
        found.append(
            OpenApiExample(
                "answered", answered, response_only=True, status_codes=codes, media_type=media_type
            )
        )
    return found
