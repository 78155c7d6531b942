"""`manage.py config_reference`: the tables of environment variables that the documents carry."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from autopack_site import configuration

BEGIN = "<!-- made by manage.py config_reference --write; edit autopack_site/configuration.py instead -->"
END = "<!-- end of what is made -->"
DOCUMENTS = {"README.md": configuration.common_table, "docs/configuration.md": configuration.tables}


class Command(BaseCommand):
    """Status 1: `--check` found a document that is out of step."""

    help = "Print the table of environment variables; --write brings README.md and docs/ up to date."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Print, write or check."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--write", action="store_true", help="put the tables into the documents")
        what.add_argument("--check", action="store_true", help="write nothing; fail if one is out of step")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it."""
        if not (options["write"] or options["check"]):
            self.stdout.write(configuration.tables())
            return
        stale = []
        for name, table in DOCUMENTS.items():
            document = Path(settings.BASE_DIR) / name
            text = document.read_text(encoding="utf-8")
            try:
                wanted = with_table(text, table())
            except ValueError as error:
                raise CommandError(f"{name}: {error}") from error
            if text != wanted:
                stale.append(name)
                if options["write"]:
                    document.write_text(wanted, encoding="utf-8")
                    self.stdout.write(f"written {name}")
        if stale and options["check"]:
            self.stderr.write(
                f"out of step: {', '.join(stale)}: .venv/bin/python manage.py config_reference --write"
            )
            sys.exit(1)


def with_table(text: str, table: str) -> str:
    """Return the document with the table between its two marks. Raises ValueError when it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("it has no marks between which the table stands")
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"
