"""Named lines at which the fault tests end the process, as `kill -9` would.

`AUTOPACK_CRASH_AT=name` (tests only; refused in production by the system checks) makes `line(name)` kill the
process the first time it is passed; `AUTOPACK_CRASH_MARK` names a file that remembers that it did.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

LINES = (
    "candidate-built",
    "candidate-kept",
    "candidate-recorded",
    "intent-recorded",
    "branch-moved",
    "tag-made",
    "pushed",
    "merge-recorded",
)


def line(name: str) -> None:
    """Die here if the environment says so."""
    if os.environ.get("AUTOPACK_CRASH_AT") != name:
        return
    mark = os.environ.get("AUTOPACK_CRASH_MARK")
    if mark:
        try:
            os.close(os.open(Path(mark), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
