"""Mounts that root makes, in a mount namespace of its own, before it drops to the attempt's uid.

Checkouts and toolchains may lie below folders that the uid can't enter (a state folder or /root, mode
0700). The sources are opened as root and bound where the uid can reach them; nothing changes outside.
"""

from __future__ import annotations

import os
import stat

from integration.sandbox.shim import linux

STAGE = "/tmp"  # noqa: S108 - hidden behind a fresh tmpfs of our own namespace


def _private_namespace() -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)


def _tmpfs(target: str) -> None:
    linux.mount("tmpfs", target, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")


def _bind(handle: int, target: str) -> None:
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    linux.mount(f"/proc/self/fd/{handle}", target, None, linux.MS_BIND | linux.MS_REC)


def stage(sources: list[str]) -> None:
    """Make source number i reachable as `/tmp/i` for this process and its children only."""
    _private_namespace()
    handles = [os.open(source, os.O_PATH | os.O_CLOEXEC) for source in sources]
    _tmpfs(STAGE)
    for index, handle in enumerate(handles):
        _bind(handle, f"{STAGE}/{index}")
        os.close(handle)


def _obstacle(path: str) -> str | None:
    """Return the first folder on the way to path that others may not enter."""
    parts = path.strip("/").split("/")
    for index in range(1, len(parts)):
        folder = "/" + "/".join(parts[:index])
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return folder
    return None


def expose(paths: list[str]) -> None:
    """Make paths reachable under their own names, each closed folder on the way replaced by an empty one."""
    closed = {path: folder for path in paths if (folder := _obstacle(path)) is not None}
    if not closed:
        return
    _private_namespace()
    handles = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in closed}
    for folder in sorted(set(closed.values())):
        _tmpfs(folder)
    for path in sorted(handles):
        if not os.path.lexists(path):  # a parent bound before may hold it already
            _bind(handles[path], path)
        os.close(handles[path])
