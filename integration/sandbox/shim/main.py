"""The shim: starts one command, watches it and its caller, and leaves nothing alive behind it.

It is a process of its own so that a caller killed with SIGKILL (a Celery child) still takes its command
along. The order arrives marshalled on descriptor 0, which stays open: its end means that the caller is gone, a
byte on it that the command must end, or is to be signalled. The command's output goes to descriptor 1, one
report to a third.
"""

from __future__ import annotations

import marshal
import os
import resource
import select
import signal
import sys
import time

from integration.sandbox.shim import launch, linux, tree

TYPE_CHECKING = False  # every import here is paid by each command: what isn't needed to run stays out
if TYPE_CHECKING:
    from typing import Any

CONTROL = 0
MEASURE_S = 0.25
KILL_S = 10.0
REASONS = {b"c": "cancelled", b"o": "output_limit"}
END, TELL = b"t", b"n"  # words that leave the command alive: SIGTERM to its group, SIGUSR1 to its program
ASK_AGAIN_S = 0.05


class Shim:
    """One run: the state between start and report."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.started = time.monotonic()
        self.reason = ""
        self.detail = ""
        self.note = ""
        self.wait_status: int | None = None
        self.inner_code: int | None = None
        self.cpu_s = 0.0
        self.peak_bytes = 0
        self.child = 0
        self.json_status = b""
        self.released = False
        self.inner = 0  # bubblewrap's pid 1, as seen from here
        self.wishes = b""  # words that could not be passed on yet
        self.stop_at: float | None = None

    def end(self, reason: str, detail: str = "") -> None:
        """Note the first cause to stop."""
        if not self.reason:
            self.reason, self.detail = reason, detail

    def start(self) -> None:
        """Fork the command. Whether its exec worked is read from the report pipe (its end: it did)."""
        self.report_r, report_w = os.pipe()
        self.inner_r, inner_w = os.pipe()
        gate_r, self.gate_w = os.pipe()
        parent = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            launch.become(self.order, parent=parent, status=inner_w, gate=gate_r, report=report_w)
        for handle in (report_w, inner_w, gate_r):
            os.close(handle)
        null = os.open("/dev/null", os.O_RDWR)
        for handle in (1, 2):  # the command alone holds the output now
            os.dup2(null, handle)

    def read_report(self) -> None:
        """Take in notes and the reason why the command could not start."""
        data = b""
        while chunk := os.read(self.report_r, 4096):
            data += chunk
        for line in data.split(b"\n"):
            text = line[1:].decode(errors="replace")
            if line.startswith(launch.NOTE):
                self.note = f"{self.note}; {text}" if self.note else text
            elif line.startswith(launch.FAILURE):
                self.end("start_failed", text)

    def read_inner(self) -> bool:
        """Take in bubblewrap's status lines; False at their end. Lets the payload go once it is limited."""
        data = os.read(self.inner_r, 65536)
        self.json_status += data
        *lines, self.json_status = self.json_status.split(b"\n")
        for line in lines:
            fields = _numbers(line)
            if "exit-code" in fields:
                self.inner_code = fields["exit-code"]
            elif "child-pid" in fields and not self.released:
                self.released = True
                self.inner = fields["child-pid"]
                if self.order["uid"] is None:  # counted inside the namespace, not over all that the user runs
                    child, most = fields["child-pid"], self.order["processes"]
                    try:
                        launch.limit(resource.RLIMIT_NPROC, most, most, pid=child)
                    except (OSError, ValueError) as exc:
                        self.end("start_failed", f"limiting the processes: {exc}")
                linux.write_quietly(self.gate_w, b"x")
        return bool(data)

    def measure(self) -> None:
        """Account for the tree, and stop it when it takes more than it may."""
        living_s, memory = tree.usage()
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu_s = max(self.cpu_s, living_s + reaped.ru_utime + reaped.ru_stime)
        self.peak_bytes = max(self.peak_bytes, memory)
        if memory > self.order["memory_bytes"]:
            self.end(
                "over_limit", f"The command passed its memory limit of {self.order['memory_bytes']} bytes"
            )
        elif self.cpu_s > self.order["cpu_s"]:
            self.end("over_limit", f"The command passed its CPU limit of {self.order['cpu_s']:g} s")

    def pass_on(self) -> None:
        """Signal the command as the caller wished; what comes before the command has started waits.

        The group of bubblewrap's pid 1 is the command's: that process itself ignores what it has no handler for.
        """
        left = b""
        for word in (self.wishes[at : at + 1] for at in range(len(self.wishes))):
            if not self.order["program"]:
                if word == END:
                    tree.signal_group(self.child, signal.SIGTERM)
                else:
                    tree.send(self.child, signal.SIGUSR1)
                continue
            programs = tree.children(self.inner) if self.inner else []
            if not programs:
                left += word
            elif word == END:
                tree.signal_group(self.inner, signal.SIGTERM)
            else:
                tree.send(programs[0], signal.SIGUSR1)
        self.wishes = left

    def hear(self, word: bytes) -> None:
        """Take the caller's word."""
        if word in (END, TELL):
            self.wishes += word
            if word == END and self.stop_at is None:
                self.stop_at = time.monotonic() + self.order["grace_s"]
        else:
            self.end(REASONS.get(word, "cancelled"), "" if word else "The caller is gone")

    def reap(self) -> None:
        """Collect what has died; the command's own end ends the run, whatever it left running."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.wait_status = status

    def watch(self, wakeup: int) -> None:
        """Wait for the first of: the command's end, a limit, the caller's word, the caller's end."""
        poll = select.poll()
        for handle in (CONTROL, wakeup, self.inner_r):
            poll.register(handle, select.POLLIN)
        deadline = self.started + self.order["wall_s"]
        next_measure = self.started + MEASURE_S / 5
        while not self.reason and self.wait_status is None:
            now = time.monotonic()
            if now >= deadline:
                self.end("timeout", f"The command passed its limit of {self.order['wall_s']:g} s")
                break
            if self.stop_at is not None and now >= self.stop_at:
                self.end(
                    "stopped", f"The command did not end within {self.order['grace_s']:g} s of being asked to"
                )
                break
            if now >= next_measure:
                self.measure()
                next_measure = now + MEASURE_S
            self.pass_on()
            until = min(deadline, next_measure, self.stop_at or deadline)
            if self.wishes:
                until = min(until, now + ASK_AGAIN_S)
            ready = poll.poll(max(1, int((until - now) * 1000)))
            for handle, _ in ready:
                if handle == CONTROL:
                    self.hear(os.read(CONTROL, 1))
                elif handle == self.inner_r:
                    if not self.read_inner():
                        poll.unregister(self.inner_r)
                else:
                    word = os.read(wakeup, 64)
                    if bytes([signal.SIGTERM]) in word:
                        self.end("cancelled", "The caller is gone")
            self.reap()

    def finish(self) -> dict[str, Any]:
        """Kill what is left and return the report."""
        duration_s = time.monotonic() - self.started
        if self.wait_status is None:
            self.measure()
        clean = tree.kill_all(self.order["uid"], KILL_S)
        self.read_report()
        while self.read_inner():
            pass
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = number = None
        if not self.reason:
            code, number = self._ending()
        if not clean:
            self.detail = f"{self.detail} Processes survive their kill signal (stuck in the kernel).".strip()
        return {
            "reason": self.reason or "exited",
            "exit_code": code,
            "signal": number,
            "duration_s": duration_s,
            "cpu_s": max(self.cpu_s, reaped.ru_utime + reaped.ru_stime),
            "peak_memory_bytes": max(self.peak_bytes, reaped.ru_maxrss * 1024),
            "detail": self.detail,
            "note": self.note,
        }

    def _ending(self) -> tuple[int | None, int | None]:
        code = os.waitstatus_to_exitcode(self.wait_status or 0)
        if self.order["program"]:
            if self.inner_code is None:  # bubblewrap tells an exit code only of a command that was started
                self.end("start_failed", "bubblewrap could not start the command")
                return None, None
            code = self.inner_code
            if 128 < code < 128 + signal.NSIG:
                return None, code - 128
        return (None, -code) if code < 0 else (code, None)


def _read_order() -> dict[str, Any]:
    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = os.read(CONTROL, count - len(data))
            if not chunk:
                os._exit(0)  # the caller died before it said what to do
            data += chunk
        return data

    data = exactly(int.from_bytes(exactly(8), "big"))
    order: dict[str, Any] = marshal.loads(data)  # noqa: S302 - written by our own parent
    return order


def _numbers(line: bytes) -> dict[str, int]:
    """Read one of bubblewrap's status lines: a flat JSON object of numbers."""
    found = {}
    for field in line.strip(b"{} \r\n").split(b","):
        name, _, value = field.partition(b":")
        if value.strip().isdigit():
            found[name.strip(b' "').decode()] = int(value)
    return found


def main(status: int) -> None:
    """Run the order on descriptor 0 and write the report to the descriptor `status`."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    wakeup_r, wakeup_w = os.pipe()
    os.set_blocking(wakeup_w, False)
    signal.set_wakeup_fd(wakeup_w, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    order = _read_order()
    if os.getppid() != order["parent"]:
        sys.exit(0)
    shim = Shim(order)
    try:
        shim.start()
        shim.watch(wakeup_r)
        report = shim.finish()
    except BaseException as exc:
        tree.kill_all(order["uid"], KILL_S)
        report = {"reason": "killed", "detail": f"The shim failed: {type(exc).__name__}: {exc}"}
    linux.write_quietly(status, repr(report).encode(errors="backslashreplace"))
