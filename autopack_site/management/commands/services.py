"""`manage.py services -- COMMAND...`: run a command beside embedded PostgreSQL and Redis, then stop them."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from autopack_site import embedded
from autopack_site.children import spawn
from autopack_site.kernel.errors import AutopackError


class Command(BaseCommand):
    """Answers with the command's own exit status (128 + n when a signal ended it)."""

    help = (
        "Run COMMAND with DATABASE_URL and AUTOPACK_REDIS_URL naming embedded servers; stop them afterwards."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Everything after `--` is the command."""
        parser.add_argument(
            "--private",
            action="store_true",
            help="a fresh throw-away pair, whatever runs here already and whatever the environment names",
        )
        parser.add_argument(
            "--remove", action="store_true", help="delete this checkout's servers' data, and run nothing"
        )
        parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run it."""
        command = [*options["command"]]
        if command[:1] == ["--"]:
            del command[0]
        if not command and not options["remove"]:
            raise CommandError(
                "Say what to run: .venv/bin/python manage.py services -- COMMAND [ARGUMENT...]"
            )
        run_pair = embedded.private if options["private"] else embedded.shared
        try:
            if options["remove"]:
                embedded.discard(settings.STATE_DIR)
                return
            with run_pair(settings.STATE_DIR) as services:
                status = run(command, {**os.environ, **services.environment()})
        except AutopackError as error:
            raise CommandError(error.detail) from error
        sys.exit(status)


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run the command in our own process group and return its status; pass on TERM, leave Ctrl-C to it."""
    process = spawn(command, env=environment, stdin=None, new_session=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal has sent it to the command as well
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: process.send_signal(received))
    status = process.wait()
    return status if status >= 0 else 128 - status
