"""Bombs: each ends at its bound, says so, and leaves the host standing."""

from __future__ import annotations

import dataclasses
import os

import pytest

from integration.sandbox.spec import MIB
from tests.integration.sandbox.conftest import SMALL, Attempt

pytestmark = pytest.mark.sandbox


def test_a_fork_bomb_is_bounded(attempt: Attempt) -> None:
    outcome, output = attempt.python(
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 2000:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(60)\n"
        "            os._exit(0)\n"
        "        made += 1\n"
        "except BlockingIOError:\n"
        "    print('stopped at', made, flush=True)\n"
    )
    assert outcome.reason == "exited"
    assert output.startswith("stopped at")
    assert 20 <= int(output.split()[-1]) <= SMALL.processes


def test_an_exponential_fork_bomb_ends_with_its_time(attempt: Attempt) -> None:
    limits = dataclasses.replace(SMALL, wall_s=1.5)
    outcome, _ = attempt.shell("bomb() { bomb | bomb & }; bomb; sleep 30", limits=limits)
    assert outcome.reason in ("timeout", "exited")
    assert outcome.duration_s < 10
    if attempt.uid:
        assert not [name for name in os.listdir("/proc") if _owner(name) == attempt.uid]


def _owner(name: str) -> int | None:
    try:
        return os.stat(f"/proc/{name}").st_uid if name.isdigit() else None
    except OSError:
        return None


@pytest.mark.parametrize(("folder", "most"), [("/tmp", SMALL.tmp_bytes), ("/dev/shm", SMALL.tmp_bytes)])
def test_memory_file_systems_are_bounded(attempt: Attempt, folder: str, most: int) -> None:
    _, output = attempt.shell(
        f"for i in 1 2 3 4; do dd if=/dev/zero of={folder}/f$i bs=1M count=4 2>/dev/null; done; "
        f"du -sbx {folder} | cut -f1"
    )
    assert MIB < int(output) <= most + MIB


def test_a_file_is_bounded(attempt: Attempt) -> None:
    outcome, _ = attempt.shell("exec dd if=/dev/zero of=big bs=1M count=100")
    assert (attempt.checkout / "big").stat().st_size <= SMALL.file_size_bytes
    assert not outcome.succeeded


def test_an_output_bomb_is_cut_and_ended(attempt: Attempt) -> None:
    outcome, output = attempt.shell("exec yes 'a hostile line'")
    assert (outcome.reason, outcome.exit_code, outcome.truncated) == ("output_limit", None, True)
    assert outcome.output_bytes == SMALL.output_bytes == len(output)
    assert outcome.duration_s < 10


def test_output_of_exactly_the_limit_is_whole(attempt: Attempt) -> None:
    outcome, output = attempt.shell(f"head -c {SMALL.output_bytes} /dev/zero")
    assert (outcome.reason, outcome.truncated) == ("exited", False)
    assert len(output) == SMALL.output_bytes


def test_one_process_cant_take_more_memory_than_allowed(attempt: Attempt) -> None:
    outcome, output = attempt.python(f"bytearray({SMALL.memory_bytes + 64 * MIB}); print('TAKEN')")
    assert "TAKEN" not in output
    assert "MemoryError" in output
    assert outcome.exit_code == 1


def test_many_processes_together_cant_take_more_memory_than_allowed(attempt: Attempt) -> None:
    limits = dataclasses.replace(SMALL, memory_bytes=200 * MIB)
    outcome, _ = attempt.python(
        "import os, time\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0:\n"
        f"        block = bytearray(b'x' * {60 * MIB})\n"
        "        time.sleep(60)\n"
        "time.sleep(60)\n",
        limits=limits,
    )
    assert outcome.reason == "over_limit"
    assert "memory limit" in outcome.detail
    assert outcome.peak_memory_bytes > limits.memory_bytes


def test_the_tree_cant_take_more_cpu_time_than_allowed(attempt: Attempt) -> None:
    limits = dataclasses.replace(SMALL, cpu_s=1.0)
    outcome, _ = attempt.shell("(while :; do :; done) & (while :; do :; done) & wait", limits=limits)
    assert outcome.reason == "over_limit"
    assert "CPU limit" in outcome.detail
    assert outcome.cpu_s > 1.0


def test_wall_time_ends_the_command(attempt: Attempt) -> None:
    limits = dataclasses.replace(SMALL, wall_s=0.6)
    outcome, output = attempt.shell("trap '' TERM INT HUP; echo started; sleep 60", limits=limits)
    assert (outcome.reason, outcome.exit_code, outcome.signal) == ("timeout", None, None)
    assert output == "started\n"
    assert 0.6 <= outcome.duration_s < 5


def test_output_arrives_while_the_command_runs(attempt: Attempt) -> None:
    pieces: list[bytes] = []
    command = attempt.command("sh", "-c", "echo out; echo err >&2; echo out again; sleep 60")
    outcome, _ = attempt.run(
        command, on_output=pieces.append, should_stop=lambda: b"".join(pieces).count(b"\n") == 3
    )
    assert outcome.reason == "cancelled"
    assert b"".join(pieces) == b"out\nerr\nout again\n"
    assert outcome.duration_s < 10


def test_a_core_is_never_dumped_and_a_signal_is_told(attempt: Attempt) -> None:
    outcome, _ = attempt.shell("ulimit -c; kill -SEGV $$")
    assert (outcome.exit_code, outcome.signal, outcome.reason) == (None, 11, "exited")
    assert [path.name for path in attempt.checkout.iterdir()] == ["README"]
