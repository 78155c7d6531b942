"""Strict fields of request bodies: what is not of the type is refused, never turned into it."""

from __future__ import annotations

import math
from typing import Any

from rest_framework import serializers

from autopack_site.kernel.ids import ID_PATTERN, ID_RULE, is_valid_id

MAX_COUNT = 10**12  # no count of tokens, lines or attempts is honestly above this
MAX_NOTE_CHARS = 100_000


class Text(serializers.CharField):
    """A string, kept as it was sent; `max_length` bounds it."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_blank", True)
        kwargs.setdefault("max_length", MAX_NOTE_CHARS)
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Return the string; refuse numbers and booleans."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Word(Text):
    """A short, non-empty string: a key, a category, a name."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 128)
        super().__init__(allow_blank=False, **kwargs)


class Id(Word):
    """The id of a run, tier or phase (API.md)."""

    default_error_messages = {"bad_id": f"An id is {ID_RULE}"}
    pattern = ID_PATTERN

    def to_internal_value(self, data: Any) -> str:
        """Return the id; refuse what can't be one."""
        value = super().to_internal_value(data)
        if not is_valid_id(value):
            self.fail("bad_id")
        return value


class Count(serializers.IntegerField):
    """A whole number from 0; booleans are none."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("min_value", 0)
        kwargs.setdefault("max_value", MAX_COUNT)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> int:
        """Return the number."""
        if isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class Number(serializers.FloatField):
    """A finite number; booleans are none."""

    def to_internal_value(self, data: Any) -> float:
        """Return the number; refuse `nan` and infinities, which JSON can't carry on."""
        if isinstance(data, bool):
            self.fail("invalid")
        value: float = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class Rows(serializers.ListField):
    """A list of objects; absent or null is an empty one."""

    def __init__(self, child: serializers.BaseSerializer[Any], *, max_length: int, **kwargs: Any) -> None:
        super().__init__(child=child, max_length=max_length, default=list, allow_null=True, **kwargs)


class TextList(serializers.ListField):
    """A list of strings; null is an empty one."""

    def __init__(self, *, max_length: int = 1000, max_chars: int = 4096, **kwargs: Any) -> None:
        kwargs.setdefault("default", list)
        super().__init__(child=Text(max_length=max_chars), max_length=max_length, **kwargs)
