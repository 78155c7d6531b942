"""Become another program, bound to the life of the parent. Run by path as a child process, never imported.

`python -I -S launch.py PARENT_PID SIGNAL UID GID PROGRAM [ARGUMENT...]` gives up root for UID and GID (-1:
stay as is), asks the kernel to send SIGNAL when the parent dies, and executes PROGRAM. This runs between fork
and exec without `preexec_fn`, which is unsafe in a process that has threads. It imports the standard library
only, so it starts in a few milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CANNOT_RUN = 126


def main(arguments: list[str]) -> int:
    """Execute the program; return only when that failed."""
    parent, death_signal, uid, gid = (int(value) for value in arguments[:4])
    program = arguments[4:]
    try:
        if uid >= 0:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        # A shell that starts a job in the background hands down ignored signals and sometimes a mask.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # After the change of account: the kernel clears the request when credentials change.
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # the parent died before the request was made
            return CANNOT_RUN
        os.execvp(program[0], program)  # noqa: S606 (argv list, no shell)
    except OSError as error:
        print(f"{program[0]}: {error}", file=sys.stderr)
    return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
