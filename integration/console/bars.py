"""A budget and what of it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runs.caps import Unit, shown
from runs.models import Run, Tier

HIGH = 0.8


@dataclass(frozen=True)
class Bar:
    """`used` of `cap`, both in one unit. A cap of 0 allows nothing, one of None everything."""

    label: str
    used: int
    cap: int | None
    unit: Unit | None = None

    @property
    def share(self) -> float:
        """Return the used share, 1.0 being all of it; more is possible."""
        if self.cap is None:
            return 0.0
        if self.cap <= 0:
            return 1.0 if self.used else 0.0
        return self.used / self.cap

    @property
    def text(self) -> str:
        """Return what is used of what, for people."""
        cap = "unlimited" if self.cap is None else self._shown(self.cap)
        return f"{self._shown(self.used)} of {cap}"

    def _shown(self, amount: int) -> str:
        return shown("micro_usd", amount) if self.unit == "micro_usd" else f"{amount:,}"

    @property
    def width(self) -> str:
        """Return the share as a width of at most 100, for a drawing of that size."""
        return f"{min(self.share, 1.0) * 100:.1f}"

    @property
    def level(self) -> str:
        """Return how bad that is: nothing, `high` (nearly all) or `over`."""
        if self.share > 1.0:
            return "over"
        return "high" if self.share >= HIGH else ""


def spending(row: Run | Tier) -> Iterator[Bar]:
    """Yield the bars of tokens and money of a run or a tier: envelopes and money where they have caps."""
    yield Bar("Tokens", row.tokens_used, row.token_cap)
    if row.build_token_cap is not None:
        yield Bar("Builders", row.tokens_used - row.audit_tokens_used, row.build_token_cap)
    if row.audit_token_cap is not None:
        yield Bar("Auditors", row.audit_tokens_used, row.audit_token_cap)
    if row.cost_cap_micro_usd is not None:
        yield Bar("Money", row.cost_micro_usd, row.cost_cap_micro_usd, "micro_usd")
