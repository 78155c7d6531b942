"""With AUTOPACK_LOG_JSON=1 every line of every process is one JSON object, with what is bound and no secrets."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from autopack_site.children import spawn
from autopack_site.processes import process_table
from tests.site.waiting import until

START_S = 90.0
SCRIPT = """
import logging, sys, warnings
import structlog
from autopack_site.kernel import logs
logs.configure(level="INFO", as_json=True)
log = structlog.get_logger("own")
with structlog.contextvars.bound_contextvars(correlation_id="c-1", run_id="r-1", task_id="t-1"):
    log.info("run.moved", token="apk_secret", password="p", fencing_token=7, odd=object, count=2)
    logging.getLogger("foreign").warning("a line\\nof two, \\x1b[31mred, %s", "filled in")
    logging.getLogger("foreign").info("at redis://:hunter2@host/0 with apk_abcdefghijklmnop")
try:
    raise ValueError("of postgresql://autopack:hunter2@host/db")
except ValueError:
    log.exception("work.failed")
    logging.getLogger("foreign").exception("failed")
warnings.warn("an old way", stacklevel=1)
"""


def objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of the lines; fail on a line that is none."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(row, dict) for row in found)
    return found


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return objects(done.stderr)


def test_an_event_carries_its_name_its_fields_and_what_is_bound(lines: list[dict[str, Any]]):
    row = lines[0]
    assert (row["event"], row["level"], row["logger"], row["count"]) == ("run.moved", "info", "own", 2)
    assert (row["correlation_id"], row["run_id"], row["task_id"]) == ("c-1", "r-1", "t-1")
    assert row["timestamp"].endswith("Z")


def test_a_record_of_others_carries_what_is_bound_too(lines: list[dict[str, Any]]):
    row = lines[1]
    assert row["event"] == "a line\nof two, \x1b[31mred, filled in"
    assert (row["correlation_id"], row["run_id"], row["task_id"]) == ("c-1", "r-1", "t-1")


def test_what_was_bound_is_gone_after_the_block(lines: list[dict[str, Any]]):
    assert "correlation_id" not in lines[3]


def test_secrets_are_neither_in_fields_nor_in_texts_nor_in_tracebacks(lines: list[dict[str, Any]]):
    assert (lines[0]["token"], lines[0]["password"], lines[0]["fencing_token"]) == (
        "[redacted]",
        "[redacted]",
        7,
    )
    assert lines[2]["event"] == "at redis://[redacted]@host/0 with apk_[redacted]"
    assert "hunter2" not in json.dumps(lines)
    assert "apk_abc" not in json.dumps(lines)


def test_a_failure_carries_its_traceback_as_text(lines: list[dict[str, Any]]):
    for row in lines[3:5]:
        assert row["exception"].startswith("Traceback (most recent call last)")
        assert "exc_info" not in row


def test_a_warning_of_python_is_a_line_like_any_other(lines: list[dict[str, Any]]):
    assert lines[5]["logger"] == "py.warnings"
    assert "an old way" in lines[5]["event"]


@contextlib.contextmanager
def running(environment: dict[str, str], folder: Path, bind: str) -> Iterator[dict[str, Path]]:
    """Run the web process, a worker and beat, as `up` does; yield where each writes."""
    table = process_table(bind=bind, web_workers=1, web_threads=2, concurrency=dict.fromkeys(
        ("agent", "gate", "merge", "sweep"), 1))  # fmt: skip
    started, logs = {}, {}
    for program in table:
        if program.label in ("web", "sweep", "beat"):
            logs[program.label] = folder / f"{program.label}.log"
            with logs[program.label].open("wb") as out:
                env = {**environment, **program.environment}
                started[program.label] = spawn(
                    program.argv, env=env, cwd=settings.BASE_DIR, stdout=out, stderr=out
                )
    try:
        yield logs
        # A worker that takes a message in the moment of its TERM may not end before it is killed (Celery 5.7): `up`
        # and compose kill it in the end. Here its last words are wanted, so it is idle by then.
        started["beat"].terminate()
        assert started["beat"].wait(START_S) == 0
        until(lambda: is_idle(logs["sweep"].read_text()), limit_s=START_S)
        started["web"].terminate()
        started["sweep"].terminate()
        until(lambda: "shutdown" in logs["sweep"].read_text(), limit_s=START_S)
    finally:
        for process in started.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def is_idle(log: str) -> bool:
    """Tell whether every task that was received has ended, or was revoked as it came too late."""
    received, ended = (set(re.findall(rf"\[([0-9a-f-]{{36}})\] {word}", log)) for word in (
        "received", "(?:succeeded|raised)"))  # fmt: skip
    return received - set(re.findall(r"Discarding revoked task: [\w.]+\[([0-9a-f-]{36})\]", log)) <= ended


@pytest.mark.real
def test_web_worker_and_beat_write_nothing_else(child_environment: dict[str, str], tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "static").mkdir()
    environment = {
        **{name: value for name, value in child_environment.items() if name != "PYTEST_VERSION"},
        "AUTOPACK_LOG_JSON": "1",
        "AUTOPACK_LOG_LEVEL": "INFO",
        "AUTOPACK_SWEEP_S": "0.5",
        "AUTOPACK_SOFT_SHUTDOWN_S": "1",
        "AUTOPACK_STATE_DIR": str(tmp_path),
    }
    with running(environment, tmp_path, bind) as logs:
        until(lambda: "succeeded" in logs["sweep"].read_text(), limit_s=START_S)
        until(lambda: "Booting worker" in logs["web"].read_text(), limit_s=START_S)
        asked = urllib.request.Request(
            f"http://{bind}/health", headers={"Host": "evil.example", "X-Correlation-Id": "from-outside"}
        )
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(asked, timeout=START_S)
    rows = {label: objects(path.read_text()) for label, path in logs.items()}
    [refused] = [row for row in rows["web"] if "evil.example" in row["event"]]
    assert refused["correlation_id"] == "from-outside"
    assert "DisallowedHost" in refused["exception"]
    assert any(row["logger"] == "gunicorn.error" for row in rows["web"])
    assert any(row["logger"] == "celery.beat" for row in rows["beat"])
    assert any("shutdown" in row["event"] for row in rows["sweep"])


def test_a_worker_s_level_is_the_settings_whatever_its_option_says(child_environment: dict[str, str]):
    script = (
        "import logging; from autopack_site.celery import app; app.log.setup(loglevel='INFO');"
        "print(logging.getLogger().level, logging.getLogger('celery.task').level)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=settings.BASE_DIR, capture_output=True, text=True, check=True,
        env={**child_environment, "AUTOPACK_LOG_LEVEL": "ERROR"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{logging.ERROR} {logging.ERROR}\n", "")
