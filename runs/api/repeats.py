"""`Idempotency-Key` at the edge: which POST it is, and which answers are kept.

Kept is every answer of a route but those that decide nothing: 5xx, and whatever says Retry-After. A refusal is
kept as well: it may have booked tokens or counted an attempt. Who asks anew after a refusal takes a new key.
An answer with `Cache-Control: no-store` shows a secret once: that it was given is kept, it itself is not, and a
repeat is refused (409 `answer-not-kept`). Refusals from before the route (401, 403 for the token's roles, 413,
429, a malformed id) never reach the key.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.errors import Invalid, problem
from runs import idempotency
from runs.api.parsers import too_large
from runs.idempotency import Kept, Turn

if TYPE_CHECKING:
    from runs.api.views import AgentView

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY_CHARS = 255
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY_CHARS}}}")
_KEPT_HEADERS = ("Content-Type", "Link", "Location")


class Repeated(Exception):
    """This request was answered before; `response` is that answer."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.response = HttpResponse(
            kept.body, status=kept.status, headers={**kept.headers, REPLAYED: "true"}
        )
        if "Content-Type" not in kept.headers:
            del self.response["Content-Type"]


def turn_of(view: AgentView, request: Request) -> Turn | None:
    """Return the turn of a POST that carries a key, None without one. No query is made without a key.

    Raises Repeated; Invalid for a key that can't be one; and what `idempotency.begin` raises.
    """
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST" or not hasattr(view, "post"):
        return None
    if not _KEY.fullmatch(key):
        message = f"1 to {MAX_KEY_CHARS} printable ASCII characters"
        raise Invalid([problem("value_error", ["header", HEADER], message)])
    who = str(view.caller.token_id or view.caller.name)
    found = idempotency.begin(idempotency.digest_of(who, "POST", request.path, key), _fingerprint(request))
    if isinstance(found, Kept):
        raise Repeated(found)
    return found


def finish(turn: Turn, response: HttpResponseBase) -> None:
    """Keep the answer, or free the key where nothing was decided."""
    if not isinstance(response, HttpResponse):  # a stream: no POST has one
        turn.give_back()
        return
    if isinstance(response, Response):
        response.render()
    if response.status_code >= 500 or "Retry-After" in response:
        turn.give_back()
        return
    headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    is_secret = "no-store" in response.get("Cache-Control", "")
    turn.keep(Kept(response.status_code, headers, response.content), with_body=not is_secret)


def _fingerprint(request: Request) -> str:
    try:
        body = request._request.body
    except RequestDataTooBig:
        raise too_large() from None
    query = request.META.get("QUERY_STRING", "").encode("utf-8", "surrogateescape")
    return hashlib.sha256(hashlib.sha256(query).digest() + body).hexdigest()
