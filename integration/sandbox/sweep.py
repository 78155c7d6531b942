"""The last resort: a shim that was itself killed can't clean up behind it, so its caller does."""

from __future__ import annotations

import contextlib
import os
import signal
import time

SWEEP_S = 10.0
PAUSE_S = 0.02


def _is_ours(name: str, token: bytes, uid: int | None) -> bool:
    """Whether a process is bubblewrap with this run's token, or runs as the attempt's uid."""
    try:
        with open(f"/proc/{name}/stat", "rb") as handle:
            if handle.read().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                return False
        if uid is not None and os.stat(f"/proc/{name}").st_uid == uid:
            return True
        with open(f"/proc/{name}/cmdline", "rb") as handle:
            return token in handle.read().split(b"\0")[:5]
    except OSError:
        return False


def sweep(token: str, uid: int | None) -> bool:
    """Kill what a run left; tell whether nothing is left after at most SWEEP_S.

    bubblewrap dies with its parent, but for a moment between its fork and the child's own wish to: a shim
    killed just then leaves that child. It is the first process of its space: all in there dies with it.
    """
    word = token.encode()
    deadline = time.monotonic() + SWEEP_S
    empty_rounds = 0
    while time.monotonic() < deadline:
        found = [name for name in os.listdir("/proc") if name.isdigit() and _is_ours(name, word, uid)]
        for name in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(name), signal.SIGKILL)
        empty_rounds = 0 if found else empty_rounds + 1
        if empty_rounds == 2:
            return True
        time.sleep(PAUSE_S)
    return False
