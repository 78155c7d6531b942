"""Aider's summary lines: `Tokens: 4.2k sent, 500 received. Cost: $0.02 message, $0.05 session.`

Each tells one message's tokens, rounded, so the sum is derived; the session's cost is told as a whole.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from runs.figures import Figures, count_of, micro_usd_of, text_of

_COUNT = r"(\d{1,7}(?:\.\d{1,3})?[kM]?)"
_TOKENS = re.compile(
    rf"Tokens: {_COUNT} sent(?:, {_COUNT} cache write)?(?:, {_COUNT} cache hit)?, {_COUNT} received\."
)
_COST = re.compile(r"Cost: \$(\d{1,7}(?:\.\d{1,12})?) message, \$(\d{1,7}(?:\.\d{1,12})?) session\.")
_VERSION = re.compile(r"Aider v([\w.+-]{1,40})")
_MODEL = re.compile(r"(?:Main m|M)odel: (\S{1,128}) with ")
_SCALE = {"k": 1000, "M": 1_000_000}


class Aider:
    """The messages' sum."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._version = ""
        self._model = ""

    def take(self, line: str, value: Any) -> bool:
        """Take summary lines, and those that name the version and the model."""
        if value is not None:
            return False
        text = line[:1000]
        if found := _VERSION.match(text):
            self._version = text_of(found[1])
            return True
        if found := _MODEL.match(text):
            self._model = text_of(found[1])
            return True
        tokens, cost = _TOKENS.search(text), _COST.search(text)
        if tokens:
            sent, written, read, received = (_count(part) for part in tokens.groups())
            fresh = None if sent is None else max(sent - (written or 0) - (read or 0), 0)
            self._figures = self._figures.plus(
                Figures(
                    input_tokens=fresh,
                    cache_write_tokens=written,
                    cache_read_tokens=read,
                    output_tokens=received,
                    turns=1,
                )
            )
        if cost:
            self._figures, _lower = self._figures.grown(Figures(cost_micro_usd=micro_usd_of(cost[2])))
        return bool(tokens or cost)

    def figures(self) -> Figures:
        """Return what the lines come to."""
        if self._figures.is_empty:
            return self._figures
        return self._figures.plus(
            Figures(agent="aider", version=self._version, model=self._model, is_derived=True)
        )


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    scale = _SCALE.get(text[-1], 1)
    return count_of(int(Decimal(text.rstrip("kM")) * scale))
