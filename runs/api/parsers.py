"""The one way a body or a query comes in: bounded, unambiguous, with no text that the database can't hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from autopack_site.kernel.errors import AutopackError, Invalid, problem

MAX_DEPTH = 32
MAX_VALUES = 200_000  # members and elements of one body, all levels together


class BodyTooLarge(AutopackError):
    """The body is over the limit of this installation."""

    code, status = "body-too-large", 413
    title = "The body is too large"


class BoundedJSONParser(BaseParser):
    """Parse `application/json`. Raises BodyTooLarge, Invalid (depth, size, text) and DRF's ParseError."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the body's value; an empty body is an empty object."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise too_large()
        if not raw.strip():
            return {}
        try:
            value = json.loads(
                raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unambiguous
            )
        except RecursionError:
            raise _too_deep() from None
        except ValueError as error:
            raise ParseError(f"JSON parse error: {error}") from error
        check_value(value)
        return value


def too_large() -> BodyTooLarge:
    """Return the refusal that names the limit."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return BodyTooLarge(f"A body may have {limit} bytes", limit_bytes=limit)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object; readers differ in which of two members of one name they take, so it has none."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        shown = twice[:64].encode("utf-8", "replace").decode()
        raise Invalid([problem("duplicate_key", ["body"], f"An object names {shown!r} twice")])
    return found


def query_values(request: Request) -> dict[str, str]:
    """Return the query parameters. Raises Invalid for one that comes twice, or is no UTF-8 text."""
    try:
        unquote_to_bytes(request.META.get("QUERY_STRING", "")).decode("utf-8")
    except UnicodeError:
        raise Invalid([problem("not_utf8", ["query"], "The query is not UTF-8")]) from None
    found = {}
    for name, values in request.query_params.lists():
        _check_text(name, ("query",))
        if len(values) > 1:
            raise Invalid([problem("duplicate_key", ["query", name], "It comes more than once")])
        _check_text(values[0], ("query", name))
        found[name] = values[0]
    return found


def _too_deep() -> Invalid:
    return Invalid([problem("too_deep", ["body"], f"At most {MAX_DEPTH} levels of nesting")])


def check_value(value: Any) -> None:
    """Raise Invalid for a value nested too deep, of too many parts, or with what PostgreSQL or JSON refuses.

    Refused text is a NUL character or a lone surrogate; the row of the problem says where it is.
    """
    todo: list[tuple[Any, tuple[str | int, ...]]] = [(value, ("body",))]
    seen = 0
    while todo:
        item, loc = todo.pop()
        if isinstance(item, str):
            _check_text(item, loc)
            continue
        if isinstance(item, float) and not math.isfinite(item):
            raise Invalid([problem("finite_number", list(loc), "A number beyond all bounds")])
        if isinstance(item, dict):
            for key in item:
                _check_text(key, loc)
            children = [(child, (*loc, key)) for key, child in item.items()]
        elif isinstance(item, list):
            children = [(child, (*loc, index)) for index, child in enumerate(item)]
        else:
            continue
        if children and len(loc) > MAX_DEPTH:
            raise _too_deep()
        seen += len(children)
        if seen > MAX_VALUES:
            raise Invalid([problem("too_long", ["body"], f"At most {MAX_VALUES} values in one body")])
        todo.extend(children)


def _check_text(text: str, loc: tuple[str | int, ...]) -> None:
    if "\0" in text:
        raise Invalid([problem("nul_character", list(loc), "A NUL character is not text")])
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid([problem("lone_surrogate", list(loc), "A lone surrogate is not text")]) from None
