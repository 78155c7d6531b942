"""Which of two categories an issue keeps that was reported under both. Pure."""

from __future__ import annotations

from issues.coverage import GATE_CATEGORIES
from strategy.published import FIRST, published
from strategy.rules import canonical_category


def riskier(one: str, other: str) -> str:
    """Return the category that asks for more care, of equal ones the lesser: the same whichever came first.

    One of high risk (by the published table) goes before others, and those before what gates find: as such an issue
    is resolved by any green gate, wherever it lies, and nobody may make another's one by a report.
    """
    return min((word for word in (one, other) if word), key=_rank, default="")


def _rank(category: str) -> tuple[bool, bool, str]:
    name = canonical_category(category, {})
    return name in GATE_CATEGORIES, name not in published(FIRST).risky, category
