"""`manage.py restore FILE`: make an empty system what a backup holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from autopack_site.backup import archive
from autopack_site.backup.restore import Report, restore
from autopack_site.kernel.errors import AutopackError


class Command(BaseCommand):
    """Nothing of Autopack may run meanwhile but PostgreSQL. Start it afterwards: runs go on by themselves."""

    help = "Restore a backup into an empty system; --check only reads it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which, and how."""
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--check", action="store_true", help="only tell whether the file is whole")
        parser.add_argument(
            "--replace", action="store_true", help="delete all that this system has, and restore over it"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it, and say what came back."""
        try:
            if options["check"]:
                manifest = archive.check(options["file"])
                self.stdout.write(
                    f"whole: {len(manifest['files'])} files, made {manifest['created_at']} by Autopack "
                    f"{manifest['autopack']}"
                )
                return
            report = restore(options["file"], replace=options["replace"])
        except AutopackError as error:
            raise CommandError(error.detail) from error
        self.stdout.write("\n".join(told(report)))


def told(report: Report) -> list[str]:
    """Return the report as lines for the operator."""
    lines = [
        f"restored: {report.projects} projects, {report.runs} runs, {report.live_runs} of them not ended, as of "
        f"{report.manifest['created_at']}",
        f"{report.refs_aligned} refs of mirrors were newer than the database and taken back",
    ]
    if report.ahead:
        lines.append(
            "The project's repository is ahead of the backup. Take it back before you start Autopack,"
        )
        lines.append("or cancel these runs: their next move would end as branch-conflict.")
        lines += [f"  {row.run_id}: {row.command}" for row in report.ahead]
    lines += [f"not looked at (its repository does not answer): {line}" for line in report.not_looked_at]
    return lines
