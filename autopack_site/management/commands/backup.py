"""`manage.py backup PLACE`: database, mirrors and logs in one file, while runs go on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from autopack_site.backup.save import save
from autopack_site.kernel.errors import AutopackError


class Command(BaseCommand):
    """Prints the file's path. The file is its owner's alone to read: sources may hold passwords."""

    help = "Write a backup of the whole system to a file, or into a folder under a name of its own."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Where to."""
        parser.add_argument("place", type=Path, metavar="FILE|FOLDER")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it."""
        try:
            target = save(options["place"].absolute())
        except AutopackError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{target}  {target.stat().st_size:,} bytes")
