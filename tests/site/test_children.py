"""Children that never outlive their parent, and the guard that takes in what they fork away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from django.conf import settings

from autopack_site import guard
from autopack_site.children import Identity, end_stray, spawn
from tests.site.waiting import bounded, until

# Prints the number of a daemon that has left its session and its parent, then lives on.
DAEMON_AND_STAY = (
    "import os, subprocess, sys, time\n"
    "code = 'import os, time; os.setsid(); os.fork() and os._exit(0)\\n'\n"
    "code += 'print(os.getpid(), flush=True); time.sleep(600)'\n"
    "subprocess.run([sys.executable, '-c', code])\n"
)
STAY = "import time; time.sleep(600)\n"


def started_guard(code: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return bounded([sys.executable, "-I", "-S", guard.__file__, sys.executable, "-c", code])


def identity_from(process: subprocess.Popen[str]) -> Identity:
    assert process.stdout is not None
    identity = Identity.of(int(process.stdout.readline()))
    assert identity is not None
    return identity


def test_a_child_dies_with_a_parent_that_is_killed():
    code = (
        "import time; from autopack_site.children import spawn\n"
        "print(spawn(['sleep', '600']).pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = identity_from(parent)
        parent.kill()
    until(lambda: not child.is_alive())


def test_a_program_that_does_not_exist_ends_with_126_and_says_so():
    process = spawn(["/no/such/program"], stderr=subprocess.PIPE)
    _, errors = process.communicate()
    assert process.returncode == 126
    assert b"/no/such/program" in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up root")
def test_a_child_given_another_account_keeps_nothing_of_root():
    process = spawn(["/bin/cat", "/proc/self/status"], uid=65534, gid=65534, stdout=subprocess.PIPE)
    output, _ = process.communicate()
    status = dict(line.split(":\t", 1) for line in output.decode().splitlines() if ":\t" in line)
    assert status["Uid"].split() == status["Gid"].split() == ["65534"] * 4
    assert status["Groups"].split() == []
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0


def test_an_identity_knows_a_used_again_number_from_the_process_it_named():
    own = Identity.of(os.getpid())
    assert own is not None
    assert own.is_alive()
    assert not Identity(own.pid, own.started_ticks + 1, own.boot_id).is_alive()
    with subprocess.Popen(["true"]) as ended:
        until(lambda: Identity.of(ended.pid) is None)


def test_a_frozen_stray_is_ended():
    with subprocess.Popen(["sleep", "600"]) as stray:
        identity = Identity.of(stray.pid)
        assert identity is not None
        stray.send_signal(signal.SIGSTOP)
        end_stray(identity, signals=[signal.SIGTERM], wait_s=10.0)
        assert stray.wait(10) == -signal.SIGTERM


def test_a_daemon_forked_away_ends_while_the_program_goes_on():
    with started_guard(DAEMON_AND_STAY + STAY) as process:
        daemon = identity_from(process)
        until(lambda: not daemon.is_alive())
        assert process.poll() is None
        process.terminate()
        assert process.wait(10) == 128 + signal.SIGTERM


def test_the_guard_answers_with_the_programs_status_after_ending_what_it_left():
    left = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    with started_guard(f"{left}{DAEMON_AND_STAY}raise SystemExit(7)\n") as process:
        daemon = identity_from(process)
        assert process.wait(20) == 7
        assert not daemon.is_alive()


def test_a_killed_guard_takes_the_program_with_it():
    with started_guard("import os, time; print(os.getpid(), flush=True); time.sleep(600)") as process:
        program = identity_from(process)
        process.kill()
        until(lambda: not program.is_alive())


def test_the_scripts_run_by_path_need_the_standard_library_only():
    for path in (Path(guard.__file__), guard.LAUNCHER):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({str(path)!r})"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
