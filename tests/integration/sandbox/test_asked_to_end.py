"""A command that is asked to end: SIGTERM to its group, a grace, then the kill of all that it started."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

from integration.sandbox import runner
from integration.sandbox.spec import Limits, Outcome, Wish
from tests.integration.sandbox.conftest import SMALL, Attempt, processes_with
from tests.integration.sandbox.test_process_trees import DAEMON, either, marker

__all__ = ["either", "marker"]

READY = "ready\n"
WRAPS_UP = """
import pathlib, signal, sys, time
def last(*_):
    pathlib.Path("kept").write_text("so far")
    print("wrapped up", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, last)
print("ready", flush=True)
time.sleep(60)
"""


def run(attempt: Attempt, script: str, *args: str, wish: Wish, limits: Limits = SMALL) -> tuple[Outcome, str]:
    """Run a Python program in the place of a shell; once it says that it is ready, wish.

    Beside a shell it would race: the signal ends a shell at once, and what the command forked ends with it.
    """
    pieces: list[bytes] = []
    outcome = runner.run(
        attempt.command("sh", "-c", 'exec python3 -c "$0" "$@"', script, *args, limits=limits),
        on_output=pieces.append,
        should_stop=lambda: False,
        wish=lambda: wish if READY.encode() in b"".join(pieces) else "",
        uid=attempt.uid,
        hold=(attempt.lease.descriptor,) if attempt.lease else (),
        using=attempt.using,
    )
    return outcome, b"".join(pieces).decode()


def test_a_command_that_heeds_the_signal_ends_by_itself_and_keeps_its_work(
    either: Attempt, checkout: Path
) -> None:
    outcome, output = run(either, WRAPS_UP, wish="end")
    assert outcome.asked
    assert outcome.reason == "exited"
    assert output == "ready\nwrapped up\n"
    assert (checkout / "kept").read_text() == "so far"


def test_a_command_that_ignores_the_signal_is_killed_after_its_grace_with_all_it_forked(
    either: Attempt, marker: str
) -> None:
    script = (
        f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{DAEMON}"
        "print('ready', flush=True)\nimport time\ntime.sleep(3600)\n"
    )
    limits = dataclasses.replace(SMALL, grace_s=0.5)
    pieces: list[bytes] = []
    outcome = runner.run(
        either.command("python3", "-c", script, marker, limits=limits),
        on_output=pieces.append,
        should_stop=lambda: False,
        wish=lambda: "end" if READY.encode() in b"".join(pieces) else "",
        uid=either.uid,
        hold=(either.lease.descriptor,) if either.lease else (),
        using=either.using,
    )
    assert (outcome.reason, outcome.asked, outcome.exit_code) == ("stopped", True, None)
    assert "did not end within 0.5 s" in outcome.detail
    assert processes_with(marker) == []


def test_being_told_reaches_the_program_and_ends_nothing(either: Attempt) -> None:
    script = (
        "import signal\nheard = []\nsignal.signal(signal.SIGUSR1, lambda *_: heard.append(1))\n"
        "print('ready', flush=True)\nimport time\nend = time.monotonic() + 15\n"
        "while not heard and time.monotonic() < end:\n    time.sleep(0.02)\nprint('told', len(heard), flush=True)\n"
    )
    pieces: list[bytes] = []
    outcome = runner.run(
        either.command("python3", "-c", script),
        on_output=pieces.append,
        should_stop=lambda: False,
        wish=lambda: "tell" if READY.encode() in b"".join(pieces) else "",
        uid=either.uid,
        using=either.using,
    )
    assert (outcome.exit_code, outcome.asked) == (0, False)
    assert b"".join(pieces).endswith(b"told 1\n")


def test_a_command_that_was_not_asked_says_so(either: Attempt) -> None:
    outcome, _ = either.shell("exit 4")
    assert (outcome.exit_code, outcome.asked) == (4, False)


def test_a_program_without_a_handler_ends_at_the_first_asking(either: Attempt) -> None:
    outcome, _ = run(either, "print('ready', flush=True)\nimport time\ntime.sleep(60)\n", wish="end")
    assert outcome.asked
    assert outcome.reason == "exited"
    assert outcome.signal == signal.SIGTERM
