"""Pool processes whose worker is gone leave, also where they hold each other's pipes; what is in hand is finished."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests.site.waiting import until

# A worker that forks two children as Celery's pool does: each inherits the other's pipe, so no end of one is told.
WORKER = """
import os, signal, sys, time
import autopack_site.celery
from celery import signals
from autopack_site import orphans

orphans.LOOK_EVERY_S = 0.05
signals.worker_init.send(sender=None)
pipes = [os.pipe() for _ in range(2)]
for number, (reads, _writes) in enumerate(pipes):
    if os.fork() == 0:
        signals.worker_process_init.send(sender=None)
        if number == 0:
            signals.task_prerun.send(sender=None)
        os.write(1, b"%d %d\\n" % (number, os.getpid()))  # in one piece: two of them write
        if number == 0:
            while not os.path.exists(sys.argv[1]):
                time.sleep(0.02)
            open(sys.argv[1] + ".done", "w").close()
            signals.task_postrun.send(sender=None)
        os.read(reads, 1)
        os._exit(3)
signal.pause()
"""


def children(worker: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of both children, in the order in which they were forked."""
    assert worker.stdout is not None
    return [int(pid) for _number, pid in sorted(worker.stdout.readline().split() for _ in range(2))]


def is_alive(pid: int) -> bool:
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def finish(tmp_path: Path) -> Path:
    """The file that ends the task of the first child."""
    return tmp_path / "finish"


@pytest.fixture
def worker(finish: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "autopack_site.settings"}
    argv = [sys.executable, "-W", "ignore", "-c", WORKER, str(finish)]
    with subprocess.Popen(
        argv,
        cwd=settings.BASE_DIR,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_children_of_a_killed_worker_leave_after_what_they_have_in_hand(
    worker: subprocess.Popen[str], finish: Path
) -> None:
    first, second = children(worker)
    assert is_alive(first)
    assert is_alive(second)
    worker.kill()
    until(lambda: not is_alive(second))
    assert is_alive(first), "it is in the middle of a task"
    finish.touch()
    until(lambda: not is_alive(first))
    assert finish.with_suffix(".done").exists()


def test_children_of_a_living_worker_stay(worker: subprocess.Popen[str]) -> None:
    pids = children(worker)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(timeout=0.5)
    assert all(map(is_alive, pids))
