"""What an agent says that an attempt has used: the figures, how they grow, and how they are read from JSON.

All of it is hostile: numbers are bounded, texts short, what can't be understood is unknown and never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_COUNT = 10**12
MAX_USD = 10**6
MICRO = 1_000_000
MAX_TEXT = 128
PARTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


def count_of(value: Any) -> int | None:
    """Return a count; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        return None
    return value


def micro_usd_of(value: Any) -> int | None:
    """Return dollars as millionths, MAX_USD at the most; None for what is no amount.

    A float is taken as it is written. An absurd amount is no unknown one: unknown would meet no cap.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return None
    try:
        amount = Decimal(str(value)[:40])
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0:
        return None
    return int((min(amount, Decimal(MAX_USD)) * MICRO).to_integral_value())


def text_of(value: Any) -> str:
    """Return a short text without control characters; "" for what is none."""
    if not isinstance(value, str):
        return ""
    return "".join(char for char in value[: 4 * MAX_TEXT] if char.isprintable())[:MAX_TEXT]


@dataclass(frozen=True, slots=True)
class Figures:
    """Cumulative figures of one attempt; None is unknown.

    `input_tokens` are those that no cache served; `output_tokens` hold the reasoning, which `reasoning_tokens`
    tells apart. `tokens` is a total that was said as such. `cost_micro_usd` is what the agent says it cost, in
    millionths of a dollar. `is_derived` says that figures were rounded or added up from parts.
    """

    tokens: int | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    turns: int | None = None
    cost_micro_usd: int | None = None
    agent: str = ""
    version: str = ""
    model: str = ""
    session: str = ""
    is_derived: bool = False

    @property
    def total(self) -> int | None:
        """Return all tokens: what was said, or the sum of the parts where that is more; None: unknown."""
        parts = [part for name in PARTS if (part := getattr(self, name)) is not None]
        said = [] if self.tokens is None else [self.tokens]
        return max([*said, sum(parts)]) if parts or said else None

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all is known."""
        return self == Figures()

    def grown(self, later: Figures) -> tuple[Figures, tuple[str, ...]]:
        """Return these figures with what a later report adds, and which of its figures were lower.

        Each figure only grows: a lower one is ignored. Texts are the latest that were said.
        """
        values: dict[str, Any] = {}
        lower = []
        for name in NUMBERS:
            old, new = getattr(self, name), getattr(later, name)
            if old is not None and new is not None and new < old:
                lower.append(name)
            values[name] = old if new is None or (old is not None and new < old) else new
        for name in TEXTS:
            values[name] = getattr(later, name) or getattr(self, name)
        return Figures(**values, is_derived=self.is_derived or later.is_derived), tuple(lower)

    def beyond(self, before: Figures) -> Figures:
        """Return what these figures tell beyond those of before; none is below 0. It is derived.

        The parts of the tokens are told only where they add up to no more than the whole does.
        """
        values: dict[str, Any] = {}
        for name in NUMBERS:
            old, new = getattr(before, name), getattr(self, name)
            values[name] = new if new is None or old is None else max(new - old, 0)
        if self.total is not None:
            values["tokens"] = max(self.total - (before.total or 0), 0)
            if sum(values[name] or 0 for name in PARTS) > values["tokens"]:
                values |= dict.fromkeys(PARTS)
        return Figures(**values, **{name: getattr(self, name) for name in TEXTS}, is_derived=True)

    def plus(self, other: Figures) -> Figures:
        """Return the sum with figures of other work; what one of them doesn't know the other tells."""
        values: dict[str, Any] = {}
        for name in NUMBERS:
            known = [value for value in (getattr(self, name), getattr(other, name)) if value is not None]
            values[name] = min(sum(known), MAX_COUNT) if known else None
        for name in TEXTS:
            values[name] = getattr(other, name) or getattr(self, name)
        return Figures(**values, is_derived=self.is_derived or other.is_derived)

    def to_json(self) -> dict[str, Any]:
        """Return what is known, under the names of the API."""
        found: dict[str, Any] = {}
        for field, name in _NAMES.items():
            value = getattr(self, field)
            if value not in (None, ""):
                found[name] = value
        if self.cost_micro_usd is not None:
            found["cost_usd"] = self.cost_micro_usd / MICRO
        if self.is_derived:
            found["is_derived"] = True
        return found


# field -> its name in JSON; the cache's names are those that providers use
_NAMES = {
    "tokens": "tokens",
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
    "output_tokens": "output_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "turns": "turns",
    "agent": "agent",
    "version": "agent_version",
    "model": "model",
    "session": "session_id",
}
TEXTS = ("agent", "version", "model", "session")
NUMBERS = tuple(f.name for f in fields(Figures) if f.name not in (*TEXTS, "is_derived"))
_OTHER_NAMES = {"tokens": ("total_tokens", "tokens_used")}


def read(value: Any) -> Figures:
    """Return the figures in a JSON object of Autopack's own names; what is none of them is passed over."""
    if not isinstance(value, Mapping):
        return Figures()
    found: dict[str, Any] = {}
    for field, name in _NAMES.items():
        if field in TEXTS:
            found[field] = text_of(value.get(name))
            continue
        names = (name, *_OTHER_NAMES.get(field, ()))
        found[field] = next((n for n in (count_of(value.get(name)) for name in names) if n is not None), None)
    found["cost_micro_usd"] = micro_usd_of(value.get("cost_usd"))
    return Figures(**found, is_derived=value.get("is_derived") is True)


def names_of(figures: Iterable[str]) -> str:
    """Return the figures' names in JSON, for people."""
    return ", ".join(sorted(_NAMES.get(name, "cost_usd") for name in figures))


def named(figures: Figures, *, agent: str) -> Figures:
    """Return the figures with this agent where they name none."""
    return figures if figures.agent else replace(figures, agent=text_of(agent))
