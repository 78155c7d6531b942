"""What models cost: dated rows of dollars for a million tokens, the published ones and a ruleset's own. Pure.

Published tables are kept by name as the defaults are (`strategy.published`): one never changes, newer prices are a
new file. A row holds from its day (UTC) on until a later row of the same model does. What no row matches is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import Any

from strategy.published import DATA_DIR

PRESENT = "2026-11"
MAX_MICRO_USD = 10**12
"""A million dollars: no attempt costs more, and counters of any number of attempts hold it."""
# Providers name a model with the day of its release, a window size, or their own name before it.
_SUFFIX = re.compile(r"(?:-[0-9]{8}|-[0-9]{4}-[0-9]{2}-[0-9]{2}|-latest|\[[a-z0-9]{1,8}\])$")
_PARTS = (
    ("input_tokens", "input_usd"),
    ("cache_read_tokens", "cache_read_usd"),
    ("cache_write_tokens", "cache_write_usd"),
    ("output_tokens", "output_usd"),
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is to be priced; None is unknown. A cache that was not told apart counts as not used."""

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


def price_of(model: str, on: date, own: Iterable[Mapping[str, Any]] = ()) -> Mapping[str, Any] | None:
    """Return the row that holds for a model on a day; None where none does.

    A ruleset's own rows go before the published ones, an exact name before one with a `*`, of those the longest.
    """
    name = model.rpartition("/")[2].strip().lower()
    for table in (own, published()):
        found = _best(name, on, table)
        if found is not None:
            return found
    return None


def cost_micro_usd(tokens: Tokens, model: str, on: date, own: Iterable[Mapping[str, Any]] = ()) -> int | None:
    """Return what tokens cost, in millionths of a dollar, rounded up; None where that is not known.

    Unknown: the model has no row, input or output tokens were not told apart, or a part that was used has no price.
    """
    if not model or tokens.input_tokens is None or tokens.output_tokens is None:
        return None
    row = price_of(model, on, own)
    if row is None:
        return None
    total = Decimal(0)
    for part, price in _PARTS:
        count = getattr(tokens, part)
        if not count:
            continue
        if price not in row:
            return None
        total += count * Decimal(str(row[price]))  # dollars for a million are millionths for one
    return min(int(total.to_integral_value(ROUND_CEILING)), MAX_MICRO_USD)


@cache
def published() -> tuple[Mapping[str, Any], ...]:
    """Return the published rows, each with the page it was read from. Callers must not change them."""
    text = (DATA_DIR / f"prices_{PRESENT}.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))


def _best(name: str, on: date, table: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    day = on.isoformat()
    found: tuple[tuple[bool, int, str], Mapping[str, Any]] | None = None
    for row in table:
        fit = _fit(str(row["model"]).lower(), name)
        if fit is None or row["from"] > day:
            continue
        rank = (*fit, row["from"])
        if found is None or rank > found[0]:
            found = (rank, row)
    return None if found is None else found[1]


def _fit(pattern: str, name: str) -> tuple[bool, int] | None:
    """Return how closely a row's name fits a model's: exactly or not, in how many characters; None: not at all."""
    if pattern.endswith("*"):
        return (False, len(pattern)) if name.startswith(pattern[:-1]) else None
    plain = name
    while plain != pattern and (shorter := _SUFFIX.sub("", plain)) != plain:
        plain = shorter
    return (True, len(pattern)) if plain == pattern else None
