"""Nothing that a command starts outlives it, nor the process that ran it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from integration.sandbox import runner
from tests.integration.sandbox.conftest import PLAIN, Attempt, own_children, processes_with, wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
DAEMON = (
    "import os, sys\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        for handle in (0, 1, 2):\n"
    "            os.close(handle)\n"
    "        os.execvp('sleep', ['sleep', sys.argv[1]])\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "print('daemon started', flush=True)\n"
)
CALLER = """
import sys
from pathlib import Path
from integration.sandbox import runner, spec
uid = int(sys.argv[4]) or None
command = spec.Command(
    argv=tuple(sys.argv[5:]), cwd=Path(sys.argv[2]), limits=spec.Limits(wall_s=60, processes=40),
    readonly_paths=tuple(map(Path, filter(None, sys.argv[3].split(":")))),
)
def show(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
runner.run(command, on_output=show, should_stop=lambda: False, uid=uid,
           using=runner.Detection(sys.argv[1], "given"))
"""


@pytest.fixture
def marker() -> str:
    """An argument of `sleep` that no other process has."""
    return f"3600.{uuid.uuid4().int % 10**12:012d}"


@pytest.fixture(params=["bubblewrap", "none"])
def either(request: pytest.FixtureRequest) -> Attempt:
    name = "attempt" if request.param == "bubblewrap" else "plain_attempt"
    made: Attempt = request.getfixturevalue(name)
    return made


def test_a_daemonised_grandchild_dies_with_its_command(either: Attempt, marker: str) -> None:
    outcome, output = either.run(either.command(sys.executable, "-c", DAEMON, marker))
    assert (outcome.exit_code, output) == (0, "daemon started\n")
    assert processes_with(marker) == []


def test_a_daemonised_grandchild_dies_with_a_cancelled_command(either: Attempt, marker: str) -> None:
    script = f"{DAEMON}import time\ntime.sleep(3600)\n"
    outcome, _ = either.run(
        either.command(sys.executable, "-c", script, marker),
        should_stop=lambda: any(_is_sleep(pid) for pid in processes_with(marker)),
    )
    assert outcome.reason == "cancelled"
    assert processes_with(marker) == []


def _is_sleep(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    except OSError:
        return False


def test_the_command_dies_when_its_caller_is_killed(either: Attempt, marker: str) -> None:
    kind = "none" if either.using == PLAIN else "bubblewrap"
    script = f"{DAEMON}import time\ntime.sleep(3600)\n"
    paths = ":".join(map(str, either.readonly_paths))
    command = [sys.executable, "-c", script, marker]
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, kind, str(either.checkout), paths, str(either.uid or 0), *command],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    assert caller.stdout is not None
    with caller.stdout:
        assert caller.stdout.readline() == b"daemon started\n"
        try:  # the caller's own line, the command and its daemon
            assert wait_until(lambda: len(processes_with(marker)) >= 3)
        finally:
            os.kill(caller.pid, signal.SIGKILL)
            caller.wait()
    assert wait_until(lambda: processes_with(marker) == [])


def test_the_command_dies_when_the_shim_is_killed(attempt: Attempt, marker: str) -> None:
    """In bubblewrap the kernel ends the process space with its parent, even without the shim's help."""

    def kill_shim() -> bool:
        if not processes_with(marker):
            return False
        for pid in processes_with("integration.sandbox.shim.main"):
            if _parent(pid) == os.getpid():
                os.kill(pid, signal.SIGKILL)
        return False

    outcome, _ = attempt.run(attempt.command("sleep", marker), should_stop=kill_shim)
    assert outcome.reason == "killed"
    assert "shim" in outcome.detail
    assert processes_with(marker) == []


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_an_error_of_the_caller_ends_the_command_and_passes_through(either: Attempt, marker: str) -> None:
    def fail() -> bool:
        raise RuntimeError("the lease could not be read")

    with pytest.raises(RuntimeError, match="the lease could not be read"):
        either.run(either.command("sleep", marker), should_stop=fail)
    assert processes_with(marker) == []


def test_no_descriptor_and_no_child_is_left_in_the_caller(either: Attempt) -> None:
    either.run(either.command("true"))
    before = sorted(os.listdir("/proc/self/fd")), own_children()
    either.run(either.command("true"))
    either.run(either.command("/usr/bin/no-such-program"))
    assert (sorted(os.listdir("/proc/self/fd")), own_children()) == before


def test_a_terminating_signal_to_the_shim_ends_the_command(either: Attempt, marker: str) -> None:
    def terminate() -> bool:
        if processes_with(marker):
            for pid in processes_with("integration.sandbox.shim.main"):
                if _parent(pid) == os.getpid():
                    os.kill(pid, signal.SIGTERM)
        return False

    outcome, _ = either.run(either.command("sleep", marker), should_stop=terminate)
    assert outcome.reason == "cancelled"
    assert processes_with(marker) == []


def test_detections_are_remembered(attempt: Attempt) -> None:
    assert runner.detect(attempt.uid) is runner.detect(attempt.uid)
