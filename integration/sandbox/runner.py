"""Running one hostile command to its end: the only door through which gates and agents are started."""

from __future__ import annotations

import ast
import contextlib
import marshal
import math
import os
import resource
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.sandbox import bubblewrap, plain
from integration.sandbox.errors import SandboxMisuse
from integration.sandbox.spec import Command, Limits, Outcome, Reason, SandboxKind, Wish
from integration.sandbox.sweep import sweep

POLL_S = 0.2
LOOK_AGAIN_S = 60.0  # after a sandbox didn't work: a host short of something may have it again
CHUNK_BYTES = 65536
TAIL_BYTES = 2000
SHIM_GRACE_S = 15.0  # past the wall limit, or past our word to end; the shim itself gives up killing at 10 s
ROOT = Path(__file__).resolve().parent.parent.parent
END, TELL = b"t", b"n"  # the shim's words
_WORDS: dict[Wish, bytes] = {"": b"", "end": END, "tell": TELL}
BOOT = f"import sys; sys.path.append({str(ROOT)!r}); from integration.sandbox.shim.main import main; main"


@dataclass(frozen=True)
class Detection:
    """Which sandbox this process can give, and why (a sentence for evidence and for `doctor`)."""

    kind: SandboxKind
    detail: str


class _Run:
    """Our end of one shim: the pipes, and what came through them."""

    def __init__(self, on_output: Callable[[bytes], None], limit_bytes: int) -> None:
        self.on_output = on_output
        self.limit_bytes = limit_bytes
        self.output_bytes = 0
        self.truncated = False
        self.tail = b""
        self.report = b""
        self.said = b""  # the words that the shim was given

    def take(self, chunk: bytes) -> None:
        room = self.limit_bytes - self.output_bytes
        kept = chunk[:room]
        self.truncated = self.truncated or len(kept) < len(chunk)
        if kept:
            self.output_bytes += len(kept)
            self.tail = (self.tail + kept)[-TAIL_BYTES:]
            self.on_output(kept)


def _rlimits(limits: Limits, processes: int | None) -> list[tuple[int, int, int]]:
    cpu_s = max(1, int(limits.cpu_s + 0.999))
    rows = [
        (resource.RLIMIT_DATA, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 2),
        (resource.RLIMIT_FSIZE, limits.file_size_bytes, limits.file_size_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_CORE, 0, 0),
    ]
    if processes is not None:
        rows.append((resource.RLIMIT_NPROC, processes, processes))
    return rows


def _order(command: Command, *, uid: int | None, kind: SandboxKind) -> dict[str, Any]:
    limits = command.limits
    if kind == "bubblewrap":
        bwrap = bubblewrap.program()
        if bwrap is None:
            raise SandboxMisuse("bubblewrap is not installed")
        made = bubblewrap.order(command, bwrap=bwrap, uid=uid)
    else:
        made = plain.order(command, uid=uid)
    # An ordinary user's processes are all counted together, so this limit would hit the wrong ones: the shim
    # sets it, in bubblewrap's namespace or on top of what the user runs already.
    own = limits.processes + made.pop("own_processes") if uid is not None else None
    return {
        **made,
        "parent": os.getpid(),
        "token": f"AUTOPACK_RUN_{secrets.token_hex(12)}",
        "uid": uid,
        "rlimits": _rlimits(limits, own),
        "processes": limits.processes + 1,  # pid 1 of the namespace
        "wall_s": limits.wall_s,
        "grace_s": limits.grace_s,
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_bytes,
    }


def _check(command: Command, uid: int | None) -> None:
    if os.geteuid() == 0:
        if uid is None or uid <= 0:
            raise SandboxMisuse("Under root a command needs an unprivileged uid of its own")
    elif uid is not None and uid != os.geteuid():
        raise SandboxMisuse("Only root can run a command as another uid")
    for path in (command.cwd, *command.readonly_paths, *command.writable_paths):
        if not path.exists():
            raise SandboxMisuse(f"No such path to bind: {path}", path=str(path))


def _start(order: dict[str, Any], hold: Sequence[int]) -> tuple[subprocess.Popen[bytes], int, int, int]:
    """Start the shim; return it with our ends of control, output and status."""
    control_r, control_w = os.pipe()
    output_r, output_w = os.pipe()
    status_r, status_w = os.pipe()
    # Descriptors to hold are those of uid locks: they stay locked for as long as the shim lives.
    try:
        shim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", f"{BOOT}({status_w})"],
            stdin=control_r,
            stdout=output_w,
            stderr=output_w,
            pass_fds=(status_w, *hold),
            env={},
            cwd="/",
            start_new_session=True,
        )
    except BaseException:
        for handle in (control_w, output_r, status_r):
            os.close(handle)
        raise
    finally:
        for handle in (control_r, output_w, status_w):
            os.close(handle)
    for handle in (output_r, status_r):
        os.set_blocking(handle, False)
    data = marshal.dumps(order)
    with contextlib.suppress(BrokenPipeError):
        message = len(data).to_bytes(8, "big") + data
        while message:
            message = message[os.write(control_w, message) :]
    return shim, control_w, output_r, status_r


def _read(handle: int) -> bytes | None:
    """Return what is there: None when nothing is yet, b"" at the end."""
    try:
        return os.read(handle, CHUNK_BYTES)
    except BlockingIOError:
        return None


def _pump(
    run: _Run,
    control: int,
    output: int,
    status: int,
    *,
    should_stop: Callable[[], bool],
    wish: Callable[[], Wish],
    limits: Limits,
) -> None:
    """Move output until the shim has reported; pass on our wishes, each once."""
    give_up = time.monotonic() + limits.wall_s + SHIM_GRACE_S
    next_look = time.monotonic() + POLL_S
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        selector.register(status, selectors.EVENT_READ)
        while time.monotonic() < give_up:
            for key, _ in selector.select(POLL_S):
                data = _read(key.fd)
                if data is None:
                    continue
                if key.fd == status:
                    run.report += data
                    if not data:
                        return
                elif data:
                    run.take(data)
                else:
                    selector.unregister(output)
            wanted = b""
            if run.truncated:
                wanted = b"o"
            elif time.monotonic() >= next_look:
                next_look = time.monotonic() + POLL_S
                wanted = b"c" if should_stop() else _WORDS[wish()]
            if wanted and wanted not in run.said:
                run.said += wanted
                if wanted != TELL:
                    grace_s = limits.grace_s if wanted == END else 0.0
                    give_up = min(give_up, time.monotonic() + grace_s + SHIM_GRACE_S)
                with contextlib.suppress(BrokenPipeError):
                    os.write(control, wanted)


def _run_as(
    kind: SandboxKind,
    detail: str,
    command: Command,
    *,
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
    uid: int | None,
    hold: Sequence[int],
    wish: Callable[[], Wish] = lambda: "",
) -> Outcome:
    started = time.monotonic()
    run = _Run(on_output, command.limits.output_bytes)
    order = _order(command, uid=uid, kind=kind)
    shim, control, output, status = _start(order, hold)
    try:
        _pump(run, control, output, status, should_stop=should_stop, wish=wish, limits=command.limits)
        while not run.truncated and (data := _read(output)):  # what was still in the pipe
            run.take(data)
    finally:
        os.close(control)  # if we are here by an exception, the shim now ends the command
        os.close(output)
        os.close(status)
        try:
            shim.wait(SHIM_GRACE_S)
        except subprocess.TimeoutExpired:
            os.kill(shim.pid, signal.SIGKILL)
            shim.wait()
        if shim.returncode != 0:
            sweep(order["token"], uid)
    try:
        report: dict[str, Any] = ast.literal_eval(run.report.decode())
    except (ValueError, SyntaxError):
        report = {"reason": "killed", "detail": "The shim died before it could report"}
    reason: Reason = report["reason"]
    why = report.get("detail", "")
    if reason == "start_failed" and run.tail:
        why = f"{why}: {run.tail.decode(errors='replace').strip()}"
    if run.truncated and reason == "exited":
        reason = "output_limit"
    if report.get("note"):
        detail = f"{detail}; {report['note']}"
    exited = reason == "exited"
    return Outcome(
        exit_code=report.get("exit_code") if exited else None,
        signal=report.get("signal") if exited else None,
        reason=reason,
        duration_s=report.get("duration_s", time.monotonic() - started),
        cpu_s=report.get("cpu_s", 0.0),
        peak_memory_bytes=report.get("peak_memory_bytes", 0),
        sandbox=kind,
        sandbox_detail=detail,
        output_bytes=run.output_bytes,
        truncated=run.truncated,
        detail=why,
        asked=END in run.said,
    )


def probe(kind: SandboxKind, uid: int | None) -> Outcome:
    """Run `true` in the sandbox of that kind, as a test of whether it works here."""
    with tempfile.TemporaryDirectory(prefix="autopack-probe-") as folder:
        if uid is not None:
            os.chown(folder, uid, uid)
        command = Command(argv=("true",), cwd=Path(folder), limits=Limits(wall_s=10.0))
        return _run_as(
            kind, "", command, on_output=lambda _: None, should_stop=lambda: False, uid=uid, hold=()
        )


_found: dict[tuple[int, bool], tuple[float, Detection]] = {}


def _look(uid: int | None) -> Detection:
    path = bubblewrap.program()
    if path is None:
        return Detection("none", "bubblewrap is not installed (Debian: apt install bubblewrap)")
    outcome = probe("bubblewrap", uid)
    if outcome.succeeded:
        whose = "the service's own uid" if uid is None else "a uid of the attempt's own"
        return Detection("bubblewrap", f"{path}, started by {whose}")
    why = outcome.detail or f"{outcome.reason}, exit code {outcome.exit_code}"
    return Detection("none", f"bubblewrap does not work here: {why}"[:500])


def detect(uid: int | None = None) -> Detection:
    """Tell which sandbox `run` will use. Tried for real; a working one is remembered for the process's life.

    Under root give any uid of the attempts' range: the answer doesn't depend on which. Raises SandboxMisuse
    without one.
    """
    if os.geteuid() == 0 and uid is None:
        raise SandboxMisuse("Under root the sandbox is tried with an unprivileged uid")
    key = (os.geteuid(), uid is None)  # a process that has dropped root must look anew
    looked_at, found = _found.get(key, (-math.inf, None))
    if found is None or (found.kind == "none" and time.monotonic() - looked_at > LOOK_AGAIN_S):
        found = _look(uid)
        _found[key] = time.monotonic(), found
    return found


def visible_checkout(command: Command, uid: int | None) -> Path:
    """Return the path under which the command will find its checkout."""
    return command.mount_at if detect(uid).kind == "bubblewrap" else Path(os.path.realpath(command.cwd))


def run(
    command: Command,
    *,
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
    uid: int | None,
    hold: Sequence[int] = (),
    using: Detection | None = None,
    wish: Callable[[], Wish] = lambda: "",
) -> Outcome:
    """Run command in the best sandbox there is and return what came of it; nothing it started outlives this.

    stdout and stderr arrive merged, in order, at `on_output`, up to `limits.output_bytes`; more ends the
    command (`output_limit`). `should_stop` is asked about every 0.2 s; True ends it (`cancelled`). An
    exception of either ends it too and passes through. Under root `uid` is the bare numeric uid to drop to
    (the checkout must be its: `ownership.hand_over`), else None. `hold` are descriptors that the shim keeps
    open until all is dead, even when this process is killed: the uid's lock. `using` is an answer of
    `detect`, to run in a given sandbox. `wish` is asked as often: `end` sends SIGTERM to the command's process
    group, which then has `limits.grace_s` seconds before all is killed (`stopped`); `tell` sends SIGUSR1 to the
    program itself. Each is passed on once.

    Raises SandboxMisuse for a uid that doesn't fit or a path that doesn't exist. A command that can't be
    started is an outcome (`start_failed`), not an error.
    """
    _check(command, uid)
    found = using or detect(uid)
    return _run_as(
        found.kind,
        found.detail,
        command,
        on_output=on_output,
        should_stop=should_stop,
        uid=uid,
        hold=hold,
        wish=wish,
    )
