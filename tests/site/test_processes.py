"""The foreground of `manage.py up`: labels, restarts, and an end in bounded time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import AbstractContextManager

from django.conf import settings

from autopack_site.children import Identity
from autopack_site.processes import QUEUES, process_table
from tests.site.waiting import bounded, until

HEAD = """
import os, sys
from pathlib import Path
from autopack_site.processes import Foreground, Program
def program(label, code): return Program(label, [sys.executable, "-u", "-c", code])
def run(*programs, stop_limit_s=10.0):
    sys.exit(Foreground(programs, environment=os.environ, cwd=Path("/"), stop_limit_s=stop_limit_s).run())
"""


def foreground(code: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return bounded([sys.executable, "-u", "-c", HEAD + textwrap.dedent(code)], cwd=settings.BASE_DIR)


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line.rstrip("\n"))
        if wanted in line:
            return seen
    raise AssertionError(f"{wanted!r} never came; got {seen}")


def test_output_is_labelled_and_a_signal_stops_all_with_status_zero():
    with foreground(
        """
        run(program("one", "print('first'); import time; time.sleep(600)"),
            program("other", "import time; time.sleep(1); print('second'); time.sleep(600)"))
        """
    ) as process:
        assert "one   | first" in lines_until(process, "other | second")
        process.terminate()
        lines_until(process, "all stopped")
        assert process.wait(10) == 0


def test_a_program_that_crashes_is_started_again():
    with foreground(
        """
        run(program("worker", "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"))
        """
    ) as process:
        first = int(lines_until(process, "pid")[-1].split()[-1])
        os.kill(first, signal.SIGKILL)
        assert "ended with status -9" in lines_until(process, "starting it again")[-1]
        assert int(lines_until(process, "pid")[-1].split()[-1]) != first
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_a_group_is_ended_when_its_leader_is_killed():
    with foreground(
        """
        pool = "import subprocess; print('pool', subprocess.Popen(['sleep', '600']).pid, flush=True);"
        leader = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
        run(program("worker", pool + leader))
        """
    ) as process:
        member = Identity.of(int(lines_until(process, "pool")[-1].split()[-1]))
        assert member is not None
        os.kill(int(lines_until(process, "pid")[-1].split()[-1]), signal.SIGKILL)
        until(lambda: not member.is_alive())
        process.terminate()
        process.communicate()


def test_a_program_that_crashes_again_and_again_stops_all():
    with foreground(
        """
        import autopack_site.processes as p
        p._RESTART_DELAY_S = 0.01
        run(program("bad", "raise SystemExit(3)"), program("good", "import time; time.sleep(600)"))
        """
    ) as process:
        assert "bad ended 6 times" in lines_until(process, "giving up")[-1]
        process.communicate()
        assert process.returncode == 1


def test_what_ignores_term_is_killed_when_the_time_is_over():
    with foreground(
        """
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf');"
        run(program("worker", deaf + "time.sleep(600)"), stop_limit_s=0.5)
        """
    ) as process:
        lines_until(process, "worker | deaf")
        started = time.monotonic()
        process.terminate()
        lines_until(process, "killing them")
        assert process.wait(10) == 0
        assert time.monotonic() - started < 8


def test_a_second_signal_ends_the_patience():
    with foreground(
        """
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf');"
        run(program("worker", deaf + "time.sleep(600)"), stop_limit_s=600.0)
        """
    ) as process:
        lines_until(process, "worker | deaf")
        process.terminate()
        lines_until(process, "once more to kill")
        process.terminate()
        assert process.wait(10) == 0


def test_the_table_has_one_worker_for_each_queue_that_celery_knows():
    table = process_table(
        bind="127.0.0.1:1", web_workers=1, web_threads=2, concurrency=dict.fromkeys(QUEUES, 3)
    )
    assert [program.label for program in table] == ["web", *QUEUES, "beat"]
    assert (
        {queue.name for queue in settings.CELERY_TASK_QUEUES}
        == set(QUEUES)
        == set(settings.WORKER_CONCURRENCY)
    )
    for program in table[1:-1]:
        argv = list(program.argv)
        assert argv[argv.index("--queues") + 1] == program.label
        assert argv[argv.index("--concurrency") + 1] == "3"
        assert program.environment["REMAP_SIGTERM"] == "SIGQUIT"
