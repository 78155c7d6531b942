"""`manage.py issues import|export`: issues from CSV and JUnit files into a phase, and out of a run or a backlog."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.visible import visible
from integration.junit import MAX_BYTES
from integration.junit_import import failures_of
from issues import exports
from issues.batch import import_reports
from issues.exchange import read_csv
from issues.search import Wanted
from runs import rows
from runs.models import Run
from strategy.services import project_for

REPORTER = "issues-import"
STANDARD = "-"


class Command(BaseCommand):
    """An import is all or nothing. Status 1: something was refused, and nothing was recorded."""

    help = "Import issues into a phase, or export those of a run or of a project's backlog"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the two sub-commands."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="import|export")
        brought = actions.add_parser(
            "import", help="Record the rows of a CSV file, or a JUnit report's failures"
        )
        brought.add_argument("run_id")
        brought.add_argument("phase_id")
        brought.add_argument("file", help="a file, or - for standard input")
        brought.add_argument(
            "--form", choices=exports.FORMS, help="else by the name: junit for .xml, csv for others"
        )
        brought.add_argument("--json", action="store_true", help="answer as JSON")
        taken = actions.add_parser("export", help="Write issues to standard output or to a file")
        whose = taken.add_mutually_exclusive_group()
        whose.add_argument("--run", help="what the phases of this run saw")
        whose.add_argument("--project", help="this project's backlog; else the default project's")
        taken.add_argument("--form", choices=exports.FORMS, default="csv")
        taken.add_argument("--output", type=Path, metavar="FILE", help="write here")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it; refusals are told by line and column."""
        try:
            getattr(self, f"_{options['action']}")(options)
        except Invalid as error:
            raise CommandError("\n".join(visible(str(row["msg"])) for row in error.problems)) from error
        except AutopackError as error:
            raise CommandError(visible(error.detail)) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error

    def _import(self, options: dict[str, Any]) -> None:
        phase = rows.phase_with_run.first(options["run_id"], options["phase_id"])
        if phase is None:
            raise CommandError(f"Phase {options['phase_id']} not found in run {options['run_id']}")
        data = _read(options["file"])
        form = options["form"] or ("junit" if options["file"].endswith(".xml") else "csv")
        reports = failures_of(data, phase).issues if form == "junit" else read_csv(data)
        done = import_reports(phase.pk, reports, reporter=REPORTER)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(done)))
        else:
            self.stdout.write(f"{done.reports} issues recorded, {done.issues} of them distinct")

    def _export(self, options: dict[str, Any]) -> None:
        form: exports.Form = options["form"]
        if options["run"] is not None:
            if not Run.objects.filter(pk=options["run"]).exists():
                raise CommandError(f"Run {options['run']} not found")
            chunks = exports.of_run(options["run"], form)
        else:
            chunks = exports.of_backlog(project_for(options["project"]).pk, Wanted(), form)
        if options["output"] is None:
            for chunk in chunks:
                self.stdout.write(chunk.decode(), ending="")
            return
        with options["output"].open("wb") as file:
            file.writelines(chunks)
        self.stdout.write(f"{options['output']}  {options['output'].stat().st_size:,} bytes")


def _read(name: str) -> bytes:
    """Return the file's bytes; refuse more than a report may have."""
    if name == STANDARD:
        return _bounded(sys.stdin.buffer)
    with Path(name).open("rb") as file:
        return _bounded(file)


def _bounded(file: BinaryIO) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise CommandError(f"The file is larger than {MAX_BYTES:,} bytes: split it")
    return data
