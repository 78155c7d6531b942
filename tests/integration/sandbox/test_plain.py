"""Without bubblewrap: no sandbox, and honest about it, but the uid, limits and environment still hold."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from integration.sandbox import bubblewrap, runner
from tests.integration.sandbox.conftest import PYTHON, SMALL, Attempt, own_children, processes_with


def test_a_program_of_the_venv_runs_on_the_checkout(plain_attempt: Attempt) -> None:
    script = "import sys, os, pytest; print(os.getcwd(), os.getuid()); open('made', 'w').write('x')"
    outcome, output = plain_attempt.run(plain_attempt.command(str(PYTHON), "-c", script))
    assert outcome.exit_code == 0, output
    assert (outcome.sandbox, outcome.reason) == ("none", "exited")
    assert output.split() == [str(plain_attempt.checkout), str(plain_attempt.uid or os.geteuid())]
    assert (plain_attempt.checkout / "made").exists()


def test_the_evidence_says_why_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_found", {})
    monkeypatch.setattr(bubblewrap, "program", lambda: None)
    found = runner.detect(233_000 if os.geteuid() == 0 else None)
    assert found.kind == "none"
    assert "not installed" in found.detail


def test_the_environment_is_scrubbed(plain_attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPACK_SECRET_KEY", "the-service-secret")
    _, output = plain_attempt.run(plain_attempt.command("env", env={"CHOSEN": "yes"}))
    assert {line.partition("=")[0] for line in output.splitlines()} == {
        *("CHOSEN", "HOME", "PATH", "TMPDIR", "LANG")
    }


def test_no_descriptor_of_the_service_is_inherited(plain_attempt: Attempt, tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(handle, True)
    try:
        _, output = plain_attempt.python("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))")
    finally:
        os.close(handle)
    assert output.strip() == "[0, 1, 2, 3]"


def test_time_output_memory_and_files_are_bounded(plain_attempt: Attempt) -> None:
    short = dataclasses.replace(SMALL, wall_s=0.5)
    assert plain_attempt.shell("sleep 60", limits=short)[0].reason == "timeout"
    assert plain_attempt.shell("exec yes")[0].reason == "output_limit"
    _, output = plain_attempt.python(f"bytearray({SMALL.memory_bytes * 2}); print('TAKEN')")
    assert "TAKEN" not in output
    plain_attempt.shell("exec dd if=/dev/zero of=big bs=1M count=100")
    assert (plain_attempt.checkout / "big").stat().st_size <= SMALL.file_size_bytes


def test_a_fork_bomb_is_bounded_and_gone(plain_attempt: Attempt) -> None:
    limits = dataclasses.replace(SMALL, wall_s=1.5)
    name, before = f"bomb_{os.getpid()}", own_children()
    script = f"{name}() {{ {name} | {name} & }}; {name}; sleep 30"
    outcome, _ = plain_attempt.shell(script, limits=limits)
    assert outcome.reason in ("timeout", "exited")
    assert processes_with(name) == []
    assert own_children() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user can't drop to another uid")
def test_root_drops_to_the_attempts_uid_and_nothing_more(plain_attempt: Attempt) -> None:
    _, output = plain_attempt.shell("id -u; id -G; grep -E 'Cap(Prm|Eff|Amb)|NoNew' /proc/self/status")
    lines = output.split()
    assert lines[:2] == [str(plain_attempt.uid)] * 2
    assert lines[2:] == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "CapAmb:", "0" * 16, "NoNewPrivs:", "1"]


def test_the_network_is_taken_away_or_the_evidence_tells(plain_attempt: Attempt) -> None:
    outcome, output = plain_attempt.shell("cat /proc/net/dev")
    interfaces = {line.partition(":")[0].strip() for line in output.splitlines()[2:]}
    assert interfaces == {"lo"} or "network is shared" in outcome.sandbox_detail


def test_a_command_of_a_missing_program_fails_to_start(plain_attempt: Attempt) -> None:
    outcome, _ = plain_attempt.run(plain_attempt.command("no-such-program"))
    assert outcome.reason == "start_failed"
    assert "no-such-program" in outcome.detail


def test_the_checkout_keeps_its_path(plain_attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (os.geteuid(), plain_attempt.uid is None)
    monkeypatch.setattr(runner, "_found", {key: (time.monotonic(), runner.Detection("none", "a test"))})
    command = plain_attempt.command("pwd")
    _, output = plain_attempt.run(command)
    assert output.strip() == str(runner.visible_checkout(command, plain_attempt.uid))
