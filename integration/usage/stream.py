"""A stream of lines in which an agent tells its usage, in any of the formats that are known.

The lines are hostile: each is bounded, what can't be read is passed over, and nothing raises.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from integration.usage.aider import Aider
from integration.usage.claude import Claude
from integration.usage.codex import Codex
from integration.usage.gemini import Gemini
from integration.usage.own import Own
from runs.figures import Figures

MAX_LINE_BYTES = 1024 * 1024
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024


class Adapter(Protocol):
    """One format: takes what is of it, and says what that comes to."""

    def take(self, line: str, value: Any) -> bool:
        """Take a line (`value` is its JSON, None for none); tell whether it was of this format."""

    def figures(self) -> Figures:
        """Return what the lines come to so far; empty where none was of this format."""


class Stream:
    """Feed it bytes as they come; `figures` are cumulative. Autopack's own lines win over what it can guess."""

    def __init__(self) -> None:
        self._own = Own()
        self._others: tuple[Adapter, ...] = (Claude(), Codex(), Gemini(), Aider())
        self._rest = b""
        self._skips = False
        self._document: bytearray | None = bytearray()

    @property
    def listens(self) -> bool:
        """Tell whether the agent said that it takes SIGUSR1 as the word that its budget is nearly spent."""
        return self._own.listens

    def feed(self, data: bytes) -> None:
        """Take the next bytes; a line that is longer than the bound is passed over whole."""
        if self._document is not None:
            self._document += data
            if len(self._document) > MAX_DOCUMENT_BYTES:
                self._document = None
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._skips:
                self._skips = False
            elif len(line) <= MAX_LINE_BYTES:
                self._take(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._skips = b"", True

    def finish(self) -> Figures:
        """Take the last line, and the whole as one JSON document where no line told anything."""
        if self._rest and not self._skips:
            self._take(self._rest)
        self._rest = b""
        if self.figures().is_empty and self._document:
            self._take(bytes(self._document))
        return self.figures()

    def figures(self) -> Figures:
        """Return what is known so far."""
        own = self._own.figures()
        if not own.is_empty:
            return own
        total = Figures()
        for adapter in self._others:
            told = adapter.figures()
            if not told.is_empty:
                total = total.plus(told)
        return total

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        value: Any = None
        if text[0] in "{[":
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
        for adapter in (self._own, *self._others):
            if adapter.take(text, value):
                return


def read_all(data: bytes) -> Figures:
    """Return what a whole output tells."""
    stream = Stream()
    stream.feed(data)
    return stream.finish()
