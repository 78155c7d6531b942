"""A budget and what of it is used."""

from __future__ import annotations

from dataclasses import dataclass

HIGH = 0.8


@dataclass(frozen=True)
class Bar:
    """`used` of `cap`, both in one unit. A cap of 0 allows nothing."""

    label: str
    used: int
    cap: int

    @property
    def share(self) -> float:
        """Return the used share, 1.0 being all of it; more is possible."""
        if self.cap <= 0:
            return 1.0 if self.used else 0.0
        return self.used / self.cap

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
