"""`manage.py doctor`: is everything here that Autopack needs, and if not, what to do about it.

With `--gate PROJECT`: is that project's gate green before any patch?
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from autopack_site import doctor
from autopack_site.kernel.errors import AutopackError
from autopack_site.kernel.visible import visible
from integration.gate_check import check_gate
from integration.gate_rules import GREEN, RED
from integration.last_words import LastWords
from strategy.services import project_for

LINES_SHOWN = 20


class Command(BaseCommand):
    """Prints a line for each finding; exit status 1 when one of them is a failure."""

    help = "Check git, the sandbox, the services and the projects' commands, and say what to do about each."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """`--json` for programs; `--gate` runs what a run would."""
        parser.add_argument(
            "--gate",
            metavar="PROJECT",
            help="run the project's gate once on its branch as it is, and nothing else",
        )
        parser.add_argument("--profile", choices=["normal", "strict"], default="normal", help="of that gate")
        parser.add_argument("--json", action="store_true", help="print the findings as one JSON document")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Examine and report."""
        if options["gate"]:
            sys.exit(self._try_gate(options))
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

    def _try_gate(self, options: dict[str, Any]) -> int:
        """Run the gate, print its verdict with the end of its output; return 0 when it is green."""
        words = LastWords()
        try:
            project = project_for(options["gate"])
            found = check_gate(project, profile=options["profile"], write=words)
        except AutopackError as error:
            raise CommandError(error.detail) from None
        if options["json"]:
            self.stdout.write(json.dumps({"project_id": project.project_id, **asdict(found)}, indent=2))
            return int(found.verdict != GREEN)
        if found.verdict != GREEN:
            for line in visible(words.text).splitlines()[-LINES_SHOWN:]:
                self.stdout.write(f"  {line}")
        sandbox = found.evidence.get("sandbox")
        where = f", sandbox {sandbox}" if sandbox else ""
        profile = f"{project.project_id}, profile {options['profile']}"
        self.stdout.write(f"{profile}: {found.verdict} on commit {found.commit[:12]}{where}")
        if found.reason:
            self.stdout.write(f"  {found.reason}")
        if found.verdict == RED:
            self.stdout.write("  Every patch would be taken for red: mend this before the first run.")
        return int(found.verdict != GREEN)
