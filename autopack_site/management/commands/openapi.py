"""`manage.py openapi`: the description of the HTTP API, as the code gives it and as docs/ carries it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from drf_spectacular.drainage import GENERATOR_STATS

from runs.api import openapi

DOCUMENT = "docs/openapi.json"


class Command(BaseCommand):
    """Status 1: `--check` found the document out of step."""

    help = f"Print the OpenAPI document; --write brings {DOCUMENT} up to date, --check compares it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Print, write or check."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--write", action="store_true", help="put the document into docs/")
        what.add_argument("--check", action="store_true", help="write nothing; fail if it is out of step")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it. A warning of the generator is an error here: something would be described wrongly."""
        text = openapi.text()
        if GENERATOR_STATS:
            GENERATOR_STATS.emit_summary()
            raise CommandError("the generator is not sure of everything")
        path = Path(settings.BASE_DIR) / DOCUMENT
        if options["write"]:
            path.write_text(text, encoding="utf-8")
        elif not options["check"]:
            self.stdout.write(text, ending="")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            self.stderr.write(f"out of step: {DOCUMENT}: .venv/bin/python manage.py openapi --write")
            sys.exit(1)
