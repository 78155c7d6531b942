"""From a fork of the shim to the exec of the command: limits, namespaces, dropping root, descriptors."""

from __future__ import annotations

import os
import resource
import signal

from integration.sandbox.shim import linux, tree
from integration.sandbox.shim.stage import expose, stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OUTPUT = 1
NOTE, FAILURE = b"+", b"!"  # how a line on the report pipe begins
OOM_SCORE = "700"  # when the host runs out of memory, the command goes before any service


def _restore_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def limit(number: int, soft: int, hard: int, *, pid: int = 0) -> None:
    """Lower a limit of pid (0: of this process); one that is lower already stays."""
    ceiling = resource.prlimit(pid, number)[1]
    if ceiling != resource.RLIM_INFINITY:  # without CAP_SYS_RESOURCE even root can't raise it
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.prlimit(pid, number, (soft, hard))


def _limit(order: dict[str, Any]) -> None:
    for number, soft, hard in order["rlimits"]:
        limit(number, soft, hard)
    if order["uid"] is None and not order["program"]:
        # The kernel counts all that our user runs; in a fresh user namespace only what runs there.
        most = order["processes"] + tree.threads_of(os.getuid())
        limit(resource.RLIMIT_NPROC, most, most)


def _leave_network() -> str:
    """Take the network away, if the system lets us; return what is in the way, or nothing."""
    uid, gid = os.getuid(), os.getgid()
    try:
        if uid == 0:
            linux.unshare(linux.CLONE_NEWNET)
        else:
            linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
            maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
            for name, text in maps.items():
                linux.write_file(f"/proc/self/{name}", text)
        linux.raise_loopback()
    except OSError as exc:
        return f"the network is shared with the host ({exc})"
    return ""


def _drop(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _memory_file(content: bytes) -> int:
    handle = os.memfd_create("data", 0)
    os.set_inheritable(handle, True)
    linux.write_quietly(handle, content)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _bubblewrap_argv(order: dict[str, Any], status: int, gate: int) -> tuple[list[str], list[int]]:
    """Return bwrap's argv and the descriptors it needs. Options, with all values, travel in a memory file."""
    kept = [status, gate]
    words: list[bytes] = []
    for option in order["options"]:
        if isinstance(option, dict):
            handle = _memory_file(os.fsencode(option["data"]))
            kept.append(handle)
            words.append(str(handle).encode())
        else:
            words.append(os.fsencode(option))
    words += [b"--json-status-fd", str(status).encode(), b"--block-fd", str(gate).encode()]
    handle = _memory_file(b"\0".join(words) + b"\0")
    kept.append(handle)
    # An option without effect, by which the caller finds this process if the shim can't end it any more.
    mark = ["--unsetenv", order["token"]]
    return [order["program"], *mark, "--args", str(handle), "--", *order["argv"]], kept


def _close_others(kept: list[int]) -> None:
    low = 3
    for handle in sorted(kept):
        os.closerange(low, handle)
        low = handle + 1
    os.closerange(low, max(map(int, os.listdir("/proc/self/fd"))) + 1)


def become(order: dict[str, Any], *, parent: int, status: int, gate: int, report: int) -> None:
    """Turn this fresh child into the command. Never returns; what went wrong is written to `report`."""
    step = "signals"
    try:
        _restore_signals()
        os.setsid()
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.write_file("/proc/self/oom_score_adj", OOM_SCORE)
        uid = order["uid"]
        step = "binding the folders"
        if order["stage"]:
            stage(order["stage"])
        if order["expose"]:
            try:
                expose(order["expose"])
            except PermissionError as exc:  # a root without CAP_SYS_ADMIN
                os.write(report, NOTE + f"closed folders stay closed ({exc})\n".encode())
        step = "the network"
        if order["isolate_network"]:
            note = _leave_network()
            if note:
                os.write(report, NOTE + note.encode() + b"\n")
        step = "limits"
        _limit(order)
        step = "dropping root"
        if uid is not None:
            _drop(uid)
        linux.leave_keyring()
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # changing the uid has cleared it
        if os.getppid() != parent:
            os._exit(1)
        os.umask(0o022)
        step = f"entering {order['cwd']}"
        os.chdir(order["cwd"])
        if order["program"]:
            argv, kept = _bubblewrap_argv(order, status, gate)
            for handle in (status, gate):
                os.set_inheritable(handle, True)
        else:
            argv, kept = order["argv"], []
        os.dup2(OUTPUT, 2)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        _close_others([*kept, report])
        step = f"starting {argv[0]}"
        os.execvpe(argv[0], argv, order["env"])  # noqa: S606
    except BaseException as exc:  # a fork must never run on into its parent's code
        linux.write_quietly(report, FAILURE + f"{step}: {exc}".encode(errors="replace")[:2000])
    finally:
        os._exit(127)
