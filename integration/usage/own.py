"""Autopack's own lines: `{"usage": {...}}` or the figures themselves, cumulative; `{"listens": true}`."""

from __future__ import annotations

from typing import Any

from runs.figures import Figures, read


class Own:
    """Each line tells the whole so far."""

    def __init__(self) -> None:
        self._figures = Figures()
        self.listens = False

    def take(self, line: str, value: Any) -> bool:
        """Take an object without a `type`, which the events of agents have, and without their other marks."""
        if not isinstance(value, dict) or "type" in value or "stats" in value:
            return False
        if isinstance(value.get("listens"), bool):
            self.listens = value["listens"]
        told = read(value["usage"] if isinstance(value.get("usage"), dict) else value)
        self._figures, _lower = self._figures.grown(told)
        return True

    def figures(self) -> Figures:
        """Return the highest of each figure."""
        return self._figures
