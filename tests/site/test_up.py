"""`manage.py up` as people use it: everything starts, everything stops, also when it is killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from autopack_site import embedded
from autopack_site.embedded import folders as places
from autopack_site.embedded.accounts import service_account
from tests.site.waiting import bounded, until

pytestmark = pytest.mark.real
MARKER = "AUTOPACK_TEST_MARKER"


class Up:
    """A state directory, an address, and how to find every process that belongs to them."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.bind = f"127.0.0.1:{probe.getsockname()[1]}"
        self.marks = [
            f"{MARKER}={state_dir}".encode(),
            os.fsencode(places.locate(state_dir, service_account()).home),
        ]
        without = {"DATABASE_URL", "AUTOPACK_REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        self.env = {
            **{key: value for key, value in os.environ.items() if key not in without},
            MARKER: str(state_dir),
            "AUTOPACK_STATE_DIR": str(state_dir),
            "AUTOPACK_BIND": self.bind,
            "AUTOPACK_LOG_LEVEL": "INFO",  # what serves tells it; under a test it would be silent
            "AUTOPACK_SOFT_SHUTDOWN_S": "1",
            "AUTOPACK_WEB_WORKERS": "1",
            **{f"AUTOPACK_{queue}_WORKERS": "1" for queue in ("AGENT", "GATE", "MERGE", "SWEEP")},
        }
        self.argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "up"]

    def start(self):
        return bounded(self.argv, env=self.env, limit_s=240.0)

    def processes(self) -> dict[int, str]:
        """Every live process with our marker in its environment or our folder on its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    text = command + (entry / "environ").read_bytes()
                except OSError:
                    continue
                if any(mark in text for mark in self.marks):
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found


@pytest.fixture
def up() -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="autopack-test-up-") as folder:
        this = Up(Path(folder).resolve() / "state")
        yield this
        for pid in this.processes():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not this.processes())
        embedded.discard(this.state_dir)


def read_until_ready(process: subprocess.Popen[str]) -> str:
    """Return the output up to the moment when web, all workers and beat are at work."""
    assert process.stdout is not None
    waited_for = {
        r"web +\| .*Booting worker",
        *(rf"{queue} +\| .*{queue}@\S+ ready" for queue in ("agent", "gate", "merge", "sweep")),
        r"beat +\| .*beat: Starting",
    }
    seen = ""
    for line in process.stdout:
        seen += line
        waited_for = {pattern for pattern in waited_for if not re.search(pattern, line)}
        if not waited_for:
            return seen
    raise AssertionError(f"never seen: {waited_for}\n{seen}")


def read_until_started(process: subprocess.Popen[str]) -> str:
    """Return the output up to the moment when the database is ready and the programs are started."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if "starting; http" in line:
            return seen
    raise AssertionError(f"it ended without starting:\n{seen}")


def test_up_serves_shows_the_first_accounts_once_and_stops_without_a_trace(up):
    with up.start() as process:
        output = read_until_ready(process)
        token = re.search(r"apk_\S+", output)
        assert "user operator   password " in output
        assert token is not None
        with urllib.request.urlopen(f"http://{up.bind}/admin/login/", timeout=20) as answer:
            assert answer.status == 200
        # At least: guard, up, PostgreSQL, Redis, web, four workers, beat.
        assert len(up.processes()) >= 10
        assert '"redis_url"' in (up.state_dir / "local.json").read_text()
        second = subprocess.run(up.argv, env=up.env, capture_output=True, text=True, timeout=60)
        assert second.returncode != 0
        assert f"{up.bind} is taken" in second.stderr
        assert "AUTOPACK_BIND=" in second.stderr
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert "all stopped" in rest
        assert process.returncode == 0
        assert up.processes() == {}
    remembered = (up.state_dir / "local.json").read_text()
    assert "redis_url" not in remembered
    assert token[0] not in remembered
    with up.start() as process:
        assert "apk_" not in read_until_started(process)
        until(lambda: len(up.processes()) >= 10)
        # This time the kernel gives no chance to say goodbye.
        process.kill()
        until(lambda: up.processes() == {}, limit_s=40)


def test_nothing_survives_a_killed_supervisor(up):
    with up.start() as process:
        read_until_started(process)
        until(lambda: len(up.processes()) >= 10)
        inner = [
            pid for pid, command in up.processes().items() if "--guarded" in command and pid != process.pid
        ]
        assert len(inner) == 1
        os.kill(inner[0], signal.SIGKILL)
        until(lambda: up.processes() == {}, limit_s=40)
        assert process.wait(10) == 128 + signal.SIGKILL
