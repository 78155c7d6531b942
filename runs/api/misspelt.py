"""Misspelt members of request bodies: a cap that nobody reads is money that nobody meant to spend.

Unknown members are ignored, as clients may send more than is known here. One that is nearly the name of a member
which is absent is taken for that member misspelt.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from heapq import nsmallest
from typing import Any

from rest_framework.serializers import BaseSerializer, ListField, ListSerializer, Serializer

from autopack_site.kernel.errors import problem

CUTOFF = 0.8
WORD_CUTOFF = 0.6
SHORTEST = 5  # a shorter name is near to too many words
LONGEST = 64
LOOKED_AT = 20  # unknown members of one body that are compared: what a body costs has a bound

Row = dict[str, Any]
Loc = list[str | int]


@dataclass(frozen=True)
class Shape:
    """The members that a serializer knows, and the shapes of those that are objects or lists of objects."""

    known: frozenset[str]
    inner: Mapping[str, Shape] = field(default_factory=dict)


def misspelt(serializer: type[Serializer[Any]], body: Mapping[str, Any]) -> list[Row]:
    """Return a row for each member of body, at any depth, that is another one misspelt."""
    unknown = _unknown(_shape(serializer), body, ["body"])
    looked_at = (found for found, _ in zip(unknown, range(LOOKED_AT), strict=False))
    return [
        problem("unknown_field", [*loc, name], f"unknown field {name!r}; did you mean {near!r}?")
        for loc, name, absent in looked_at
        if (near := _near(name, absent))
    ]


def _unknown(shape: Shape, value: Any, loc: Loc) -> Iterator[tuple[Loc, str, frozenset[str]]]:
    """Yield (place, unknown name, known names that are absent there)."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(shape, item, [*loc, index])
    elif isinstance(value, dict):
        names = value.keys()
        if strange := names - shape.known:
            absent = shape.known.difference(names)
            yield from ((loc, name, absent) for name in nsmallest(LOOKED_AT, strange))
        for name, inner in shape.inner.items():
            if name in value:
                yield from _unknown(inner, value[name], [*loc, name])


@lru_cache(maxsize=4096)
def _near(name: str, absent: frozenset[str]) -> str:
    if len(name) > LONGEST:
        return ""
    names = sorted(
        known for known in absent if len(known) >= SHORTEST and not _says_another_word(name, known)
    )
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=CUTOFF)), "")


def _says_another_word(name: str, known: str) -> bool:
    """Tell whether one part is another word, as in `phase_index` and `phase_id`."""
    parts = name.split("_"), known.split("_")
    return len(parts[0]) == len(parts[1]) and any(
        difflib.SequenceMatcher(None, *pair).ratio() < WORD_CUTOFF for pair in zip(*parts, strict=True)
    )


@cache
def _shape(serializer: type[BaseSerializer[Any]]) -> Shape:
    inner: dict[str, Shape] = {}
    fields = serializer().fields if issubclass(serializer, Serializer) else {}
    for name, part in fields.items():
        row = _row_of(part)
        if row is not None:
            inner[name] = _shape(row)
    return Shape(frozenset(fields), inner)


def _row_of(part: Any) -> type[Serializer[Any]] | None:
    """Return the serializer of what a member holds, be it one object or a list of them."""
    named: type[Serializer[Any]] | None = getattr(part, "row", None)
    if named is not None:
        return named
    child = part.child if isinstance(part, (ListField, ListSerializer)) else part
    return type(child) if isinstance(child, Serializer) else None
