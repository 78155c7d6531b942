"""`manage.py ruleset lint`: what is wrong with a ruleset before it is put in force."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from autopack_site.kernel.errors import Invalid
from strategy.documents import MAX_CHARS
from strategy.lint import lint_text


class Command(BaseCommand):
    """Look at rulesets."""

    help = "Look at rulesets"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the sub-commands."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="lint")
        _lint_arguments(actions.add_parser("lint", help="Check a ruleset; status 1 where there are findings"))

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the sub-command; a refusal is printed with the lines it concerns and ends with status 1."""
        getattr(self, f"_{options['action'].replace('-', '_')}")(options)

    def _lint(self, options: dict[str, Any]) -> None:
        place = options["file"]
        try:
            findings = lint_text(text_of(place))
        except Invalid as error:
            raise CommandError("\n".join(f"{place}: {row['msg']}" for row in error.problems)) from None
        if options["as_json"]:
            self.stdout.write(json.dumps([asdict(row) for row in findings], indent=2))
        else:
            for row in findings:
                self.stdout.write(f"{place}: line {row.line}: {row.field}: {row.message} ({row.code})")
            self.stdout.write(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}")
        if findings:
            sys.exit(1)


def _lint_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a ruleset in JSON or YAML")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")


def text_of(path: str) -> str:
    """Return a file's text, bounded. Raises CommandError."""
    try:
        with Path(path).open("rb") as handle:
            return handle.read(4 * MAX_CHARS + 1).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
