"""Run a program so that nothing it started outlives it. Run by path as a process of its own, never imported.

`python -I -S guard.py PROGRAM [ARGUMENT...]` makes itself the parent of every orphan below it (a child
subreaper) and ends what is orphaned: the pool of a killed worker, a daemon that a gate forked away. When the
program ends, whatever its way, all that is left below is killed before this process answers with its status.
When this process is killed instead, the kernel sends the program TERM. Standard library only: it stays small.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
LAUNCHER = Path(__file__).with_name("launch.py")
PERIOD_S = 0.5
KILL_LIMIT_S = 10.0


def children_of_this_process() -> list[int]:
    """Return the numbers of our direct children, zombies included."""
    found = []
    own = str(os.getpid()).encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as handle:
                    fields = handle.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[1] == own:
                found.append(int(entry))
    return found


def end_orphans(*, spare: int) -> bool:
    """Kill and reap each child but `spare`; tell whether there was one.

    A child of ours can't have its number used again before we reap it, so the right process is hit. Its own
    children become ours in turn and go in the next round.
    """
    others = [pid for pid in children_of_this_process() if pid != spare]
    for pid in others:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        except (ProcessLookupError, ChildProcessError):
            continue
    return bool(others)


def main(program: list[str]) -> int:
    """Run the program to its end; return its status, 128 + n when a signal ended it."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    forwarded = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)
    # A session of its own: Ctrl-C reaches it through us, once.
    process = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            str(LAUNCHER),
            str(os.getpid()),
            str(int(signal.SIGTERM)),
            "-1",
            "-1",
            *program,
        ],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None:
        received = signal.sigtimedwait(forwarded, PERIOD_S)
        if received is not None:
            process.send_signal(received.si_signo)
        end_orphans(spare=process.pid)
    deadline = time.monotonic() + KILL_LIMIT_S
    while end_orphans(spare=process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
