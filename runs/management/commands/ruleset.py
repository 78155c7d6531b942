"""`manage.py ruleset ...`: a ruleset tried before it is put in force, put in force, and shown."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.visible import visible
from runs import trials
from runs.classification import classification_of
from runs.management.commands.run import OPERATOR, read_plan, told
from runs.plan_texts import is_json, read_plan_text
from runs.replay import DEFAULT_RUNS, MAX_RUNS, lines, replay
from strategy.lint import lint_text
from strategy.services import add_ruleset, project_for
from strategy.validation import check_ruleset_text


class Command(BaseCommand):
    """Only `put` stores anything."""

    help = "Try a ruleset on a plan or on the past, put it in force, show what is; show the table of words and paths"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the sub-commands."""
        actions = parser.add_subparsers(
            dest="action", required=True, metavar="lint|dry-run|replay|put|show|classification"
        )
        lint = actions.add_parser("lint", help="Check a ruleset; status 1 where there are findings")
        lint.add_argument("file", metavar="FILE", help="a ruleset, JSON or YAML")
        lint.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
        dry_run = actions.add_parser("dry-run", help="Show what a plan would get, and what that changes")
        dry_run.add_argument("file", metavar="FILE", help="a ruleset, JSON or YAML")
        dry_run.add_argument("--plan", required=True, metavar="PLAN", help="a .md or .json file")
        past = actions.add_parser("replay", help="Show what it would have changed in the last runs")
        past.add_argument("file", metavar="FILE", help="a ruleset, JSON or YAML")
        past.add_argument(
            "--runs", type=int, default=DEFAULT_RUNS, metavar="N", help=f"how many, at most {MAX_RUNS}"
        )
        put = actions.add_parser("put", help="Put a ruleset in force, as the project's next version")
        put.add_argument("file", metavar="FILE", help="a ruleset, JSON or YAML")
        show = actions.add_parser("show", help="Print the ruleset in force, or an earlier version")
        show.add_argument("--number", type=int, metavar="N", help="the version; else the one in force")
        put.add_argument("--project", metavar="ID", help="the project; else the default one")
        show.add_argument("--project", metavar="ID", help="the project; else the default one")
        table = actions.add_parser("classification", help="Show the words and paths in force, riskiest first")
        for action in (dry_run, past, table):
            action.add_argument("--project", metavar="ID", help="the project; else the default one")
            action.add_argument("--json", dest="as_json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the sub-command; a refusal names the file and the line."""
        try:
            getattr(self, f"_{options['action'].replace('-', '_')}")(options)
        except Invalid as error:
            path = Path(options.get("file") or "")
            raise CommandError("\n".join(told(path, row) for row in error.problems)) from None
        except AutopackError as error:
            raise CommandError(error.detail) from None

    def _lint(self, options: dict[str, Any]) -> None:
        place = options["file"]
        findings = lint_text(read_plan(Path(place)))
        if options["as_json"]:
            self.stdout.write(json.dumps([asdict(row) for row in findings], indent=2))
        else:
            for row in findings:
                self.stdout.write(f"{place}: line {row.line}: {row.field}: {row.message} ({row.code})")
            self.stdout.write(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}")
        if findings:
            sys.exit(1)

    def _dry_run(self, options: dict[str, Any]) -> None:
        project = project_for(options["project"])
        plan_path = Path(options["plan"])
        try:
            text = read_plan(plan_path)
            plan = read_plan_text(text)
        except Invalid as error:
            raise CommandError("\n".join(told(plan_path, row) for row in error.problems)) from None
        answer = trials.dry_run(project, read_plan(Path(options["file"])), plan, splits=not is_json(text))
        if options["as_json"]:
            self.stdout.write(json.dumps(answer, indent=2))
            return
        present = answer["in_force_version"]
        self.stdout.write(f"Against version {present}:" if present else "No ruleset is in force.")
        if answer["in_force_refused"]:
            self.stdout.write(f"It refuses this plan: {answer['in_force_refused']['detail']}")
        for run in answer["runs"]:
            self.stdout.write(f"Run {run['run_id']}: {run['phase_count']} phases")
        for row in answer["differences"]:
            place = f"{row['level']} {row['subject']}" if row["level"] != "run" else row["run_id"]
            old, new = (json.dumps(row[side], ensure_ascii=False) for side in ("before", "after"))
            rule = row["after_rule"] or row["before_rule"]
            self.stdout.write(visible(f"  {place}: {row['name']}: {old} -> {new}  ({rule})"))
        if not answer["differences"]:
            self.stdout.write("  nothing would change for this plan")

    def _replay(self, options: dict[str, Any]) -> None:
        project = project_for(options["project"])
        answer = replay(project, read_plan(Path(options["file"])), runs=options["runs"])
        if options["as_json"]:
            self.stdout.write(json.dumps(answer, indent=2))
            return
        for line in lines(answer):
            self.stdout.write(visible(line))

    def _put(self, options: dict[str, Any]) -> None:
        project = project_for(options["project"])
        document = check_ruleset_text(read_plan(Path(options["file"])))
        with transaction.atomic():
            ruleset = add_ruleset(project, document, OPERATOR)
        self.stdout.write(
            f"Version {ruleset.version} of {project.project_id} is in force for runs that start now"
        )
        self.stdout.write(
            f"see what a plan gets: .venv/bin/python manage.py plan explain PLAN --project {project.project_id}"
        )

    def _show(self, options: dict[str, Any]) -> None:
        project = project_for(options["project"])
        number = options["number"]
        found = project.ruleset if number is None else project.rulesets.filter(version=number).first()
        if found is None:
            newest = project.rulesets.count()
            raise CommandError(f"{project.project_id} has no version {number}: it has 1 to {newest}")
        self.stdout.write(json.dumps(found.document, indent=2, ensure_ascii=True))

    def _classification(self, options: dict[str, Any]) -> None:
        answer = classification_of(project_for(options["project"]))
        if options["as_json"]:
            self.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False))
            return
        for row in answer["rows"]:
            means = ", ".join(
                str(row[name]) for name in ("category", "complexity", "builder_mode") if row.get(name)
            )
            self.stdout.write(visible(f"{means} ({row['of']})"))
            for name in ("words", "paths"):
                if row[name]:
                    self.stdout.write(visible(f"  {name}: {', '.join(row[name])}"))
        if answer["ignored_words"]:
            self.stdout.write(visible(f"ignored: {', '.join(answer['ignored_words'])}"))
