"""The one way a body comes in: JSON of bounded size and depth, with no text that the database can't hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

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
            value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
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


def _too_deep() -> Invalid:
    return Invalid([problem("too_deep", ["body"], f"At most {MAX_DEPTH} levels of nesting")])


def check_value(value: Any) -> None:
    """Raise Invalid for a value nested too deep, of too many parts, or with text PostgreSQL refuses.

    Refused text is a NUL character or a lone surrogate; the row of the problem says where it is.
    """
    todo: list[tuple[Any, tuple[str | int, ...]]] = [(value, ("body",))]
    seen = 0
    while todo:
        item, loc = todo.pop()
        if isinstance(item, str):
            _check_text(item, loc)
            continue
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
