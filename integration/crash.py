"""Named lines at which the fault tests end the process, as `kill -9` would.

The setting CRASH_AT (`AUTOPACK_CRASH_AT`, for tests) names one line: whoever passes it first dies there.
`AUTOPACK_CRASH_MARK` names a file that remembers who did, by process number; `AUTOPACK_CRASH_HOW=stop` freezes
the process instead. Production refuses the setting twice: the system checks, and here. Unset, a line costs one
comparison.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from django.conf import settings

LINES = (
    "base-fetched",
    "branch-started",
    "phase-claimed",
    "agent-finished",
    "result-submitted",
    "candidate-built",
    "candidate-kept",
    "candidate-recorded",
    "gate-claimed",
    "gate-tried",
    "gate-judged",
    "gate-recorded",
    "merge-put-off",
    "intent-recorded",
    "branch-moved",
    "tag-made",
    "pushed",
    "merge-recorded",
    "move-given-up",
)


def line(name: str) -> None:
    """Die here if the settings say so."""
    if name == settings.CRASH_AT and not settings.PRODUCTION:
        _die()


def _die() -> None:
    mark = os.environ.get("AUTOPACK_CRASH_MARK")
    if mark:
        try:
            with Path(mark).open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return
    how = signal.SIGSTOP if os.environ.get("AUTOPACK_CRASH_HOW") == "stop" else signal.SIGKILL
    os.kill(os.getpid(), how)
