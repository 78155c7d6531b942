"""What an agent may leave running, and how it is found."""

from __future__ import annotations

import contextlib
from pathlib import Path

# What outlives its parent unless it is hunted down; the last argument is what it is found by.
FORKS = """
import subprocess
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", {mark!r}], start_new_session=True)
time.sleep(60)
"""


def processes_with(mark: str) -> list[str]:
    """Return the command lines that have the mark among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if mark.encode() in arguments:
                    found.append(b" ".join(arguments).decode())
    return found
