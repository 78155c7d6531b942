"""What an attempt has cost: what its agent says, what the price table says, and which of them counts.

The higher of the two counts. An agent's word alone could keep a cap from ever being met; the table alone knows no
tools that cost money, and not every model. What neither knows is unknown and counts nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from runs.figures import Figures, read
from runs.models import Attempt
from strategy.prices import Tokens, cost_micro_usd


@dataclass(frozen=True, slots=True)
class Cost:
    """Millionths of a dollar; None is unknown."""

    reported: int | None = None
    priced: int | None = None

    @property
    def micro_usd(self) -> int | None:
        """Return what counts."""
        known = [amount for amount in (self.reported, self.priced) if amount is not None]
        return max(known) if known else None


UNKNOWN = Cost()


def of(attempt: Attempt, figures: Figures, limits: Mapping[str, Any]) -> Cost:
    """Return what the figures of an attempt cost at the prices of the day (UTC) on which it was opened."""
    return on(attempt.created_at.date(), figures, limits)


def on(day: date, figures: Figures, limits: Mapping[str, Any]) -> Cost:
    """Return what the figures cost at the prices of a day (UTC)."""
    tokens = Tokens(
        figures.input_tokens, figures.output_tokens, figures.cache_read_tokens, figures.cache_write_tokens
    )
    own = limits.get("prices", ())
    return Cost(figures.cost_micro_usd, cost_micro_usd(tokens, figures.model, day, own))


def of_usage(attempt: Attempt, tokens: int | None, detail: Mapping[str, Any]) -> Cost:
    """Return what a usage as the ledger takes it costs."""
    return of(attempt, read({**detail, "tokens": tokens}), attempt.phase.limits)
