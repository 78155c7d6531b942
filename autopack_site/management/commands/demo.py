"""`manage.py demo`: a real plan over a real library, through real services and workers, checked at the end."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from autopack_site import embedded
from autopack_site.children import spawn
from autopack_site.demo import facts, library, summary
from autopack_site.demo.configuration import PLAN, configuration
from autopack_site.demo.errors import DemoFailed
from autopack_site.demo.stack import stack
from autopack_site.first_start import OPERATOR, create_first_accounts
from autopack_site.kernel.errors import AutopackError
from runs import watch
from runs.models import Run
from runs.services import start_plan_document
from strategy.services import add_project
from strategy.types import RunOptions

GUARD = Path(__file__).parents[2] / "guard.py"
MANAGE = settings.BASE_DIR / "manage.py"
RUN_LIMIT_S = 240.0
BY = "demo"
# The terminal belongs to the picture; the workers' logs go to a file, whole.
QUIET = {"AUTOPACK_LOG_LEVEL": "WARNING"}
# The demo has this machine for itself and little to do: short pauses, few processes. What is set already wins.
TUNING = {
    "AUTOPACK_GATE_BACKOFF_S": "1", "AUTOPACK_SWEEP_S": "2", "AUTOPACK_SOFT_SHUTDOWN_S": "5",
    "AUTOPACK_WEB_WORKERS": "1", "AUTOPACK_WEB_THREADS": "4", "AUTOPACK_AGENT_WORKERS": "1",
    "AUTOPACK_GATE_WORKERS": "1", "AUTOPACK_MERGE_WORKERS": "1", "AUTOPACK_SWEEP_WORKERS": "1",
}  # fmt: skip


class Command(BaseCommand):
    """Everything it needs lies below `<state dir>/demo`, with servers of its own: a running `up` is not touched."""

    help = "Run a real plan over a real library and check what came of it (exit status 0: all promises kept)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--stage` is for the command's own two child processes."""
        parser.add_argument("--stage", choices=["guarded", "inside"], help=argparse.SUPPRESS)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Become the guard; below it, start the services; beside them, do the work."""
        if options["stage"] is None:
            become_guard()
        try:
            status = serve() if options["stage"] == "guarded" else Demo(watch.console()).run()
        except AutopackError as error:
            raise CommandError(error.detail) from error
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        sys.exit(status)


def become_guard() -> NoReturn:
    """Replace this process by the guard, which runs us again below it in the demo's own surroundings."""
    home = settings.STATE_DIR / "demo"
    environment = {
        **TUNING,
        **os.environ,
        "AUTOPACK_STATE_DIR": str(home),
        "AUTOPACK_RUNS_DIR": str(home / "runs"),
        "AUTOPACK_BIND": f"127.0.0.1:{free_port()}",
    }
    for name in ("DATABASE_URL", "AUTOPACK_REDIS_URL"):  # another Autopack's workers may be at work there
        environment.pop(name, None)
        environment.pop(f"{name}_FILE", None)
    sys.stdout.flush()
    python = [sys.executable, "-I", "-S", str(GUARD)]
    argv = [*python, sys.executable, str(MANAGE), "demo", "--stage", "guarded"]
    os.execve(python[0], argv, environment)  # noqa: S606


def serve() -> int:
    """Run the services and, in a process that sees them, the demo; return its status."""
    with embedded.shared(settings.STATE_DIR) as services:
        process = spawn(
            [sys.executable, str(MANAGE), "demo", "--stage", "inside"],
            env={**os.environ, **services.environment(), **QUIET},
            death_signal=signal.SIGTERM,
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda _received, _frame: process.send_signal(signal.SIGINT))
        status = process.wait()
    return status if status >= 0 else 128 - status


class Demo:
    """One demo, from the download to the summary."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._home = Path(settings.STATE_DIR)
        self._began = time.monotonic()

    def run(self) -> int:
        """Do it; return 0 when every promise was kept. Raises DemoFailed."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._say("preparing the database, and the library's source")
        with ThreadPoolExecutor(1) as beside:
            fetched = beside.submit(library.fetch, self._home / "downloads")
            call_command("migrate", interactive=False, verbosity=0)
            password = operator_password()
            parts = fetched.result()
        log = self._home / "logs" / "demo-processes.log"
        self._say("starting web, workers and beat")
        with stack(log) as running:
            name = next_name(self._home / "repositories")
            repository = self._home / "repositories" / name / "python-slugify"
            base = library.make_repository(parts.sdist, repository)
            self._say(f"python-slugify {parts.version} is commit {base[:12]} of {repository}")
            config = configuration(parts)
            (repository.parent / "autopack.yaml").write_text(config, encoding="utf-8")
            project = add_project(
                f"slugify-{name}", name="python-slugify", source=str(repository), config_text=config,
                is_default=True, by=BY,
            )  # fmt: skip
            runs = start_plan_document(
                name, project_id=project.project_id, text=PLAN.read_text(encoding="utf-8"),
                options=RunOptions(), by=BY,
            )  # fmt: skip
            self._say(
                f"run {name} of {PLAN.name}: {runs[0].phases.count()} phases in {runs[0].tiers.count()} tiers"
            )
            self._say(f"look at it: http://{settings.BIND}/admin/  user {OPERATOR}  password {password}")
            run = watch.follow(name, self._console, deadline_s=RUN_LIMIT_S, check=running.check)
            if not run.is_terminal:
                raise DemoFailed(f"Run {name} is {run.state} after {RUN_LIMIT_S:.0f} s; see {log}")
            is_served = running.answers()
            gathered = facts.gather(name, repository, parts, self._home / "scratch")
        summary.show(self._console, gathered, took_s=time.monotonic() - self._began, log=str(log))
        faults = gathered.faults() + ([] if is_served else [f"the web process does not answer; see {log}"])
        if faults:
            raise DemoFailed("The demo did not keep its promises:\n  " + "\n  ".join(faults))
        return 0

    def _say(self, text: str) -> None:
        took_s = time.monotonic() - self._began
        self._console.print(f"[{took_s:4.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)


def operator_password() -> str:
    """Return a fresh password of the demo database's operator, so that it can be shown at each demo."""
    accounts = create_first_accounts()
    if accounts is not None:
        return accounts.password
    user = get_user_model().objects.get(username=OPERATOR)
    password = secrets.token_urlsafe(12)
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


def next_name(repositories: Path) -> str:
    """Return the first `demo-N` that neither a run nor a folder has."""
    repositories.mkdir(parents=True, exist_ok=True)
    taken = set(Run.objects.filter(run_id__startswith="demo-").values_list("run_id", flat=True))
    taken |= {path.name for path in repositories.iterdir()}
    return next(name for number in range(1, 10**6) if (name := f"demo-{number}") not in taken)


def free_port() -> int:
    """Return a TCP port of the loopback that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
