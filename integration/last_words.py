"""The end of what a command printed, as a reason is told with it: one line, plain, without credentials."""

from __future__ import annotations

from collections.abc import Callable

from autopack_site.kernel.visible import visible
from integration.redaction import redact

TAIL_BYTES = 4096
MAX_LINE_CHARS = 300


def _nowhere(_data: bytes) -> None:
    """Keep the end only."""


class LastWords:
    """Passes an output on and keeps its end."""

    def __init__(self, write: Callable[[bytes], None] = _nowhere) -> None:
        self._write = write
        self._kept = b""

    def __call__(self, data: bytes) -> None:
        """Take one more piece of the output."""
        self._kept = (self._kept + data)[-TAIL_BYTES:]
        self._write(data)

    @property
    def text(self) -> str:
        """Return what is kept as text, redacted."""
        return redact(self._kept.decode("utf-8", "replace"))

    def last_line(self) -> str:
        """Return the last line that says something, bounded: for a traceback that is the error itself."""
        lines = (line.strip() for line in reversed(self.text.splitlines()))
        return visible(next((line for line in lines if line), ""))[:MAX_LINE_CHARS]
