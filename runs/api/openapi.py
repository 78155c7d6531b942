"""The published description: what `/openapi.json` serves and docs/openapi.json holds, byte for byte.

`complete` adds to what the views declare what holds for all of them alike: the correlation id, the key of a POST,
the throttle, and an example of each problem.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from autopack_site.kernel import correlation
from runs.api import repeats

_PROBLEM = "application/problem+json"
_METHODS = ("get", "post", "put", "patch", "delete")
_CORRELATION_IN = {
    "name": correlation.HEADER,
    "in": "header",
    "description": "1 to 128 of A-Z a-z 0-9 . _ : -; anything else is replaced. It is in every log line and event "
    "of what the request sets off.",
    "schema": {"type": "string", "maxLength": 128},
}
_KEY_IN = {
    "name": repeats.HEADER,
    "in": "header",
    "description": "Send the same POST again with the same key and it is answered as before, for 7 days. The key "
    "belongs to its token, method and path; another body or query is 409 `key-reused`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": repeats.MAX_KEY_CHARS, "pattern": "^[ -~]+$"},
}
_CORRELATION_OUT = {
    "description": "The request's correlation id, or the one that was made for it",
    "schema": {"type": "string"},
}
_REPLAYED_OUT = {
    "description": "`true`: this is the answer to an earlier request with the same key",
    "schema": {"type": "string", "enum": ["true"]},
}
_RETRY_OUT = {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}
_THROTTLED = "Too many requests of this token or address"
_KEY_REFUSALS = (
    "`key-reused`: the key came with another body; `in-progress`: the first request is still at work; "
    "`answer-not-kept`: it showed a secret once"
)
# status -> (code, title, detail) of the example
_PROBLEMS: dict[str, tuple[str, str, Any]] = {
    "400": ("bad-request", "Bad request", "The request can't be read as it was sent"),
    "401": ("not-authenticated", "Unauthorized", "Authentication credentials were not provided."),
    "403": ("role-missing", "The token's roles do not allow this", "This needs a token with the role operator"),
    "404": ("run-not-found", "Run not found", "Run shop-42 not found"),
    "409": ("stale-lease", "The lease no longer holds", "A newer lease holds phase discount"),
    "411": ("length-required", "The body has no length",
            "Send the body whole, with Content-Length, and not in chunks"),
    "413": ("body-too-large", "The body is too large", "A body may have 16777216 bytes"),
    "416": ("range-not-satisfiable", "No byte is in this range", "There are 1200 bytes"),
    "415": ("unsupported-media-type", "Unsupported Media Type", 'Unsupported media type "text/plain" in request.'),
    "422": ("invalid", "The input is not valid",
            [{"type": "required", "loc": ["body", "status"], "msg": "This field is required."}]),
    "429": ("throttled", "Too many requests", "Too many requests: come back in 2 s"),
    "503": ("not-ready", "The service is not ready", "Not ready: broker"),
}  # fmt: skip


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Complete a generated document (drf-spectacular's postprocessing hook)."""
    components = result.setdefault("components", {})
    components["parameters"] = {"CorrelationId": _CORRELATION_IN, "IdempotencyKey": _KEY_IN}
    components["headers"] = {
        "CorrelationId": _CORRELATION_OUT,
        "Replayed": _REPLAYED_OUT,
        "RetryAfter": _RETRY_OUT,
    }
    components["examples"] = {f"Problem{status}": _example_of(status) for status in _PROBLEMS}
    for item in result["paths"].values():
        for method in _METHODS:
            if method in item:
                _complete(item[method], is_post=method == "post")
    return result


def _complete(operation: dict[str, Any], *, is_post: bool) -> None:
    parameters = operation.setdefault("parameters", [])
    responses = operation["responses"]
    parameters.append(_ref("parameters", "CorrelationId"))
    if any(operation.get("security", [])):
        _add_problem(responses, "400", "The request can't be read as it was sent")
        _add_problem(responses, "429", _THROTTLED)
        if is_post:
            parameters.append(_ref("parameters", "IdempotencyKey"))
            _add_problem(responses, "409", _KEY_REFUSALS)
            _add_problem(responses, "411", "The body came in chunks, without its length")
            _add_problem(responses, "413", "The body is too large")
        if "requestBody" in operation:
            _add_problem(responses, "415", "Not JSON")
    for status, response in responses.items():
        headers = response.setdefault("headers", {})
        headers[correlation.HEADER] = _ref("headers", "CorrelationId")
        if status in ("429", "503"):
            headers["Retry-After"] = _ref("headers", "RetryAfter")
        elif is_post:
            headers[repeats.REPLAYED] = _ref("headers", "Replayed")
        if _PROBLEM in response.get("content", {}):
            response["content"][_PROBLEM]["examples"] = {"problem": _ref("examples", f"Problem{status}")}
    operation["responses"] = dict(sorted(responses.items()))


def _add_problem(responses: dict[str, Any], status: str, words: str) -> None:
    """Document a problem, beside what the view says of the same status."""
    known = responses.get(status)
    if known is not None:
        if words not in known["description"] and status == "409":
            known["description"] = f"{known['description']}. {words}"
        return
    content = {_PROBLEM: {"schema": _ref("schemas", "ProblemOut")}}
    responses[status] = {"description": words, "content": content}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _example_of(status: str) -> dict[str, Any]:
    code, title, detail = _PROBLEMS[status]
    value = {
        "type": f"urn:autopack:problem:{code}", "title": title, "status": int(status), "detail": detail,
        "code": code, "correlation_id": "6f1c7a0e2b7b4d4f9a3c0c8f5f2f7f10",
    }  # fmt: skip
    return {"value": value}


@lru_cache(maxsize=1)
def text() -> str:
    """Return the document as JSON. It is the same for every caller, and made once a process."""
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
