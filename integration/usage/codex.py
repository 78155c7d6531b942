"""Codex, `exec --json`: a `turn.completed` event tells the usage of its thread so far.

Its `input_tokens` hold the cached ones, its `output_tokens` the reasoning.
"""

from __future__ import annotations

from typing import Any

from runs.figures import Figures, count_of, text_of

KEPT_THREADS = 1000


class Codex:
    """Threads, each with its last word."""

    def __init__(self) -> None:
        self._thread = ""
        self._threads: dict[str, Figures] = {}
        self._turns = 0

    def take(self, line: str, value: Any) -> bool:
        """Take `thread.started` and `turn.completed`."""
        if not isinstance(value, dict):
            return False
        if value.get("type") == "thread.started":
            self._thread = text_of(value.get("thread_id"))
            return True
        if value.get("type") != "turn.completed":
            return False
        told = _usage(value.get("usage"))
        if not told.is_empty and (self._thread in self._threads or len(self._threads) < KEPT_THREADS):
            self._turns += 1
            self._threads[self._thread], _lower = self._threads.get(self._thread, Figures()).grown(told)
        return True

    def figures(self) -> Figures:
        """Return the threads' sum."""
        total = Figures()
        for told in self._threads.values():
            total = total.plus(told)
        if total.is_empty:
            return total
        return total.plus(Figures(turns=self._turns, agent="codex", session=self._thread))


def _usage(usage: Any) -> Figures:
    if not isinstance(usage, dict):
        return Figures()
    whole, cached = count_of(usage.get("input_tokens")), count_of(usage.get("cached_input_tokens"))
    return Figures(
        input_tokens=None if whole is None else max(whole - (cached or 0), 0),
        cache_read_tokens=cached,
        output_tokens=count_of(usage.get("output_tokens")),
        reasoning_tokens=count_of(usage.get("reasoning_output_tokens")),
    )
