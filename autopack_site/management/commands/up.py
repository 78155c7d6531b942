"""`manage.py up`: the whole of Autopack in one foreground process. Ctrl-C or TERM stops all of it."""

from __future__ import annotations

import argparse
import errno
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError

from autopack_site import embedded
from autopack_site.children import spawn
from autopack_site.kernel import local_state
from autopack_site.kernel.errors import AutopackError
from autopack_site.processes import Foreground, process_table

GUARD = Path(__file__).parents[2] / "guard.py"
MANAGE = settings.BASE_DIR / "manage.py"
# Beyond what the workers allow themselves for a soft shutdown.
_STOP_MARGIN_S = 15.0


class Command(BaseCommand):
    """Embedded services where no URL is set, migrations, then web, workers and beat with labelled logs."""

    help = "Start web, workers, beat and (unless DATABASE_URL and AUTOPACK_REDIS_URL are set) their services."
    requires_system_checks = [Tags.security]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--guarded` is what the guard starts; people type none."""
        parser.add_argument("--guarded", action="store_true", help=argparse.SUPPRESS)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Become the guard, or be what it guards."""
        refuse_taken_address(settings.BIND)
        if not options["guarded"]:
            become_guard()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda received, _frame: sys.exit(128 + received))
        remember_secret_key()
        try:
            with embedded.shared(settings.STATE_DIR) as services:
                environment = {**os.environ, **services.environment()}
                if prepare(environment) != 0:
                    raise CommandError("The database could not be prepared; see above")
                foreground = Foreground(
                    process_table(
                        bind=settings.BIND,
                        web_workers=settings.WEB_WORKERS,
                        web_threads=settings.WEB_THREADS,
                        concurrency=settings.WORKER_CONCURRENCY,
                    ),
                    environment=environment,
                    cwd=settings.BASE_DIR,
                    stop_limit_s=settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT + _STOP_MARGIN_S,
                )
                foreground.say(f"starting; http://{settings.BIND}/ answers soon; Ctrl-C stops everything")
                status = foreground.run()
        except AutopackError as error:
            raise CommandError(error.detail) from error
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        sys.exit(status)


def become_guard() -> NoReturn:
    """Replace this process by the guard, which runs us again below it."""
    sys.stdout.flush()
    python = [sys.executable, "-I", "-S", str(GUARD)]
    os.execv(python[0], [*python, sys.executable, str(MANAGE), "up", "--guarded"])  # noqa: S606


def prepare(environment: dict[str, str]) -> int:
    """Migrate, collect static files and make the first accounts, in a process that sees the services."""
    process = spawn([sys.executable, str(MANAGE), "prepare"], env=environment)
    try:
        return process.wait()
    except BaseException:  # told to stop meanwhile: it must be gone before its database is
        process.kill()
        process.wait()
        raise


def remember_secret_key() -> None:
    """Generate this checkout's own key at the first start, unless one is set."""
    if settings.PRODUCTION or embedded.is_set("AUTOPACK_SECRET_KEY"):
        return
    known = local_state.read(settings.STATE_DIR)
    if "secret_key" not in known:
        local_state.write(settings.STATE_DIR, {**known, "secret_key": secrets.token_urlsafe(50)})


def refuse_taken_address(bind: str) -> None:
    """Raise CommandError, naming the way out, when something listens on `bind` or it can't be used."""
    host, _colon, port = bind.rpartition(":")
    if not port.isdigit():
        return  # a unix socket, or something that gunicorn will name
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            reason = "is taken by another program" if taken else f"can't be used ({error})"
            raise CommandError(
                f"{bind} {reason}. Stop what listens there, or choose another address: "
                f"AUTOPACK_BIND=127.0.0.1:{_free_port()} make up"
            ) from error


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
