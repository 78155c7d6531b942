"""The processes below this one: finding, measuring, killing them. Orphans come to us (subreaper)."""

from __future__ import annotations

import os
import signal
import time

_TICKS = os.sysconf("SC_CLK_TCK")
SETTLE_ROUNDS = 40


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat behind the name; the first is the state. Empty when gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            return handle.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as handle:
                found += map(int, handle.read().split())
    except FileNotFoundError:
        if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):  # an old or small kernel
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == pid]
    except OSError:
        pass
    return found


def _parent(name: str) -> int:
    fields = _stat(int(name))
    return int(fields[1]) if fields else 0


def descendants() -> list[int]:
    """Return the pids below this process, parents before children."""
    found = _children(os.getpid())
    for pid in found:  # the list grows while it is walked
        found += _children(pid)
    return found


def threads_of(uid: int) -> int:
    """Return how many threads a user runs on this host, which is what RLIMIT_NPROC is compared with."""
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def usage() -> tuple[float, int]:
    """Return (CPU seconds, private memory in bytes) of the living tree, its reaped children's CPU included.

    Shared memory is counted once, at its largest, since each user of a segment reports all of it.
    """
    ticks = private = shared = 0
    for pid in descendants():
        fields = _stat(pid)
        if fields:
            ticks += sum(map(int, fields[11:15]))
        try:
            with open(f"/proc/{pid}/status", "rb") as handle:
                lines = handle.read().split(b"\n")
        except OSError:
            continue
        for line in lines:
            if line.startswith(b"RssAnon:"):
                private += int(line.split()[1])
            elif line.startswith(b"RssShmem:"):
                shared = max(shared, int(line.split()[1]))
    return ticks / _TICKS, (private + shared) * 1024


def children(pid: int) -> list[int]:
    """Return the pids of the processes right below pid."""
    return _children(pid)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal the process group that leader leads, if it leads one and is (still) below us."""
    try:
        if leader in descendants() and os.getpgid(leader) == leader:
            os.killpg(leader, number)
    except OSError:
        pass


def send(pid: int, number: signal.Signals) -> None:
    """Signal pid if it is (still) below us: a pid may have been given to a stranger meanwhile."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        above = pid
        while above > 1 and above != os.getpid():
            above = _parent(str(above))
        if above == os.getpid():
            signal.pidfd_send_signal(handle, number)
    except OSError:
        pass
    finally:
        os.close(handle)


def kill_uid(uid: int) -> None:
    """Kill every process of uid in one system call, which no fork can outrun. We must be root."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def kill_all(uid: int | None, deadline_s: float) -> bool:
    """Kill and reap everything below; tell whether nothing is left after at most deadline_s."""
    end = time.monotonic() + deadline_s
    frozen: set[int] = set()
    for _ in range(SETTLE_ROUNDS if uid is None else 0):  # stop them first: a fork bomb outruns kills alone
        fresh = set(descendants()) - frozen
        if not fresh:
            break
        for pid in fresh:
            send(pid, signal.SIGSTOP)
        frozen |= fresh
    while True:
        if uid is not None:
            kill_uid(uid)
        for pid in descendants():
            send(pid, signal.SIGKILL)
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                break
        if time.monotonic() >= end:
            return False
        time.sleep(0.002)
