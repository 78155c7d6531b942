"""A bare numeric uid for each attempt, under root: in no user database, and shared with nobody."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integration.sandbox.errors import NoFreeUid, SandboxMisuse

FOLDER = "uids"
SUBORDINATE_FILES = (Path("/etc/subuid"), Path("/etc/subgid"))


@dataclass(frozen=True)
class UidLease:
    """A uid held by a file lock. `descriptor` goes to `runner.run(hold=...)`, so that the uid stays taken
    until the last process of the attempt is dead, even when this process is killed before."""

    uid: int
    descriptor: int


def _running() -> set[int]:
    """Return the uids (real, effective, saved, file system) of all processes."""
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/status", "rb") as handle:
                for line in handle:
                    if line.startswith((b"Uid:", b"Gid:")):
                        found.update(map(int, line.split()[1:]))
        except OSError:
            continue
    return found


def _subordinate() -> list[range]:
    """Return the ranges that rootless containers of this host's users may use."""
    found: list[range] = []
    for path in SUBORDINATE_FILES:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split(":")
            if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
                found.append(range(int(fields[1]), int(fields[1]) + int(fields[2])))
    return found


def _is_known(uid: int) -> bool:
    with contextlib.suppress(KeyError):
        pwd.getpwuid(uid)
        return True
    with contextlib.suppress(KeyError):
        grp.getgrgid(uid)
        return True
    return False


def _lock(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def attempt_uid(*, base: int, size: int, state_dir: Path) -> Iterator[UidLease | None]:
    """Hold a free uid of [base, base + size) for the block; None when we are no root and run as ourselves.

    Locks are files under `state_dir/uids`, one a uid, released by the kernel with the last holder. Uids of
    the user and group databases, of subordinate ranges and of running processes are left alone. Raises
    NoFreeUid when none is left, SandboxMisuse for a range that touches system users.
    """
    if os.geteuid() != 0:
        yield None
        return
    if base < 1000 or size < 1 or base + size >= 2**31:
        raise SandboxMisuse("The uid range must lie between 1000 and 2^31")
    folder = state_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lease = _take(folder, range(base, base + size))
    try:
        yield lease
    finally:
        os.close(lease.descriptor)


def _take(folder: Path, uids: range) -> UidLease:
    taken = _subordinate()
    for uid in uids:
        if any(uid in owned for owned in taken) or _is_known(uid):
            continue
        handle = _lock(folder / f"{uid}.lock")
        if handle is None:
            continue
        if uid in _running():  # looked at under the lock: what runs now isn't an attempt that is starting
            os.close(handle)
            continue
        return UidLease(uid, handle)
    raise NoFreeUid(f"No uid is free from {uids.start} to {uids.stop - 1}")
