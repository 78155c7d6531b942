"""The order that runs a command in bubblewrap: what is visible inside, and what is closed (SAFETY).

bubblewrap is always started by an unprivileged uid. Its options, with the environment's values, travel in
a memory file (`--args FD`), so that `/proc/*/cmdline` shows no secret.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from integration.sandbox.shim.stage import STAGE
from integration.sandbox.spec import MIB, Command

UID_INSIDE = 1000
HOME = "/tmp/home"  # noqa: S108 - inside the sandbox, where /tmp is its own bounded file system
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
SHM_BYTES = 64 * MIB
# bubblewrap's own processes count too: the one outside and the one that is pid 1 inside.
OWN_PROCESSES = 2
PROCESS_ROOTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
ETC_PATTERNS = ("java-*", "python3*")
SYNTHESISED = {
    "/etc/passwd": f"sandbox:x:{UID_INSIDE}:{UID_INSIDE}:sandbox:{HOME}:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "/etc/group": f"sandbox:x:{UID_INSIDE}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
Option = str | dict[str, str]


def program() -> str | None:
    """Return bubblewrap's path, or None when it isn't installed where only root can write."""
    return shutil.which("bwrap", path=SEARCH_PATH)


def environment(env: Mapping[str, str], home: str) -> dict[str, str]:
    """Return env over the few defaults without which programs misbehave."""
    defaults = {"HOME": home, "PATH": SEARCH_PATH, "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
    return {**defaults, **env}


def _system() -> Iterator[Option]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in PROCESS_ROOTS:
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", os.readlink(path), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    matched = [
        str(path.relative_to("/etc")) for pattern in ETC_PATTERNS for path in Path("/etc").glob(pattern)
    ]
    yield from ("--perms", "0755", "--dir", "/etc")  # left to itself, bubblewrap makes it 0700
    for name in (*ETC, *sorted(matched)):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for path_name, text in SYNTHESISED.items():
        yield from ("--perms", "0444", "--file", {"data": text}, path_name)


def _kernel(command: Command) -> Iterator[Option]:
    yield from ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
    shm_bytes = min(SHM_BYTES, command.limits.tmp_bytes)
    yield from ("--dev", "/dev", "--size", str(shm_bytes), "--perms", "1777", "--tmpfs", "/dev/shm")  # noqa: S108
    yield from ("--size", str(command.limits.tmp_bytes), "--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108
    yield from ("--perms", "0700", "--dir", HOME, "--dir", "/run", "--dir", "/var")
    yield from ("--symlink", "/tmp", "/var/tmp", "--symlink", "/run", "/var/run")  # noqa: S108


def _binds(command: Command, sources: dict[Path, str]) -> Iterator[Option]:
    places: list[tuple[Path, str, str]] = [
        (path, sources[path], "--ro-bind") for path in command.readonly_paths
    ]
    places += [(path, sources[path], "--bind") for path in command.writable_paths]
    places.append((command.mount_at, sources[command.cwd], "--bind"))
    for path, source, kind in sorted(places, key=lambda place: len(place[0].parts)):  # outer before inner
        yield from (kind, source, str(path))


def options(command: Command, sources: dict[Path, str]) -> list[Option]:
    """Return bubblewrap's options; `sources` says where each host path can be reached by the launcher."""
    inside = str(UID_INSIDE)
    made: list[Option] = ["--unshare-user", "--disable-userns", "--uid", inside, "--gid", inside]
    made += [
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--hostname",
        "sandbox",
    ]
    if not command.network:
        made.append("--unshare-net")
    made += ["--new-session", "--die-with-parent", "--cap-drop", "ALL"]
    made += [*_system(), *_kernel(command)]
    if command.network:
        made += ["--ro-bind-try", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
    made += _binds(command, sources)
    # The root and /dev are file systems without a size: nothing may be written there.
    made += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(command.mount_at), "--clearenv"]
    for name, value in environment(command.env, HOME).items():
        made += ["--setenv", name, value]
    return made


def order(command: Command, *, bwrap: str, uid: int | None) -> dict[str, Any]:
    """Return the shim's order. With a uid (under root) each bound path is staged where it can reach it."""
    paths = list(dict.fromkeys((command.cwd, *command.readonly_paths, *command.writable_paths)))
    real = [os.path.realpath(path) for path in paths]
    staged = uid is not None
    sources = {path: f"{STAGE}/{i}" if staged else real[i] for i, path in enumerate(paths)}
    return {
        "program": bwrap,
        "argv": list(command.argv),
        "options": options(command, sources),
        "env": {},
        "cwd": "/",
        "stage": real if staged else [],
        "expose": [],
        "isolate_network": False,
        "own_processes": OWN_PROCESSES,
    }
