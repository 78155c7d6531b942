"""`manage.py doctor`: is everything here that Autopack needs, and if not, what to do about it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from autopack_site import doctor


class Command(BaseCommand):
    """Prints a line for each finding; exit status 1 when one of them is a failure."""

    help = "Check git, the sandbox, the services and the projects' commands, and say what to do about each."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--json` for programs."""
        parser.add_argument("--json", action="store_true", help="print the findings as one JSON document")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Examine and report."""
        findings = doctor.examine()
        has_failed = any(finding.level == "fail" for finding in findings)
        if options["json"]:
            document = {"ok": not has_failed, "findings": [asdict(finding) for finding in findings]}
            self.stdout.write(json.dumps(document, indent=2))
        else:
            styles = {"ok": self.style.SUCCESS, "warn": self.style.WARNING, "fail": self.style.ERROR}
            for finding in findings:
                self.stdout.write(
                    f"{styles[finding.level](f'{finding.level:<4}')}  {finding.subject}: {finding.detail}"
                )
                if finding.advice:
                    self.stdout.write(f"      -> {finding.advice}")
        if has_failed:
            sys.exit(1)
