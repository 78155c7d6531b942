"""Named lines at which the fault tests end or freeze the process, as `kill -9` and a stalled host would.

The setting CRASH_DIR (`AUTOPACK_CRASH_DIR`, for tests) names a folder. A file there that is named as a line arms
it: whoever passes the line first renames the file to `<line>.<process number>` and is killed, or stopped when the
file says `stop`. Production refuses the setting twice: in the system checks, and here. Unset, a line costs one
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
    """Die or freeze here if the line is armed."""
    if settings.CRASH_DIR and not settings.PRODUCTION:
        _pass(Path(settings.CRASH_DIR) / name)


def _pass(armed: Path) -> None:
    try:
        how = armed.read_text().strip()
        armed.rename(armed.with_name(f"{armed.name}.{os.getpid()}"))
    except FileNotFoundError:
        return  # not armed, or another process was first
    os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)
