"""`manage.py plan check|explain|split|convert FILE`: a plan's faults, what it would become, its other form."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.visible import visible
from runs import trials
from runs.management.commands.run import read_plan, told
from runs.plan_split import parts_shown, split_plan
from runs.plan_texts import both_forms, is_json, problems_of, read_plan_text
from strategy.category_advice import unfamiliar
from strategy.defaults import default_ruleset
from strategy.errors import NoProject
from strategy.services import project_for
from strategy.types import Plan, RunOptions


class Command(BaseCommand):
    """Nothing is stored. `check` ends with status 1 when there is a fault."""

    help = "Check, explain, split or convert a plan (Markdown, or JSON as POST /runs/start takes it)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the four sub-commands."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="check|explain|split|convert")
        for name, text in (
            ("check", "List every fault with its line"),
            ("explain", "Show what each phase is taken for and what it gets, with the reasons"),
            ("split", "Show the linked runs that it would become"),
            ("convert", "Print Markdown as JSON, or JSON as Markdown"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("file", metavar="FILE", help="a .md or .json file")
            if name != "convert":
                action.add_argument("--project", metavar="ID", help="the project; else the default one")
                action.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
            if name == "split":
                action.add_argument("--max-phases", type=int, metavar="N", help="else the ruleset's")
            if name == "explain":
                action.add_argument("--safety-profile", metavar="NAME", help="normal or safety_critical")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the sub-command; a refusal names the file and the line."""
        path = Path(options["file"])
        try:
            text = read_plan(path)
            getattr(self, f"_{options['action']}")(path, text, options)
        except Invalid as error:
            raise CommandError("\n".join(told(path, row) for row in error.problems)) from None
        except AutopackError as error:
            raise CommandError(error.detail) from None

    def _check(self, path: Path, text: str, options: dict[str, Any]) -> None:
        project = project_for(options["project"]) if options["project"] else None
        plan, rows = problems_of(text, project)
        if options["as_json"]:
            self.stdout.write(json.dumps({"is_valid": not rows, "problems": rows}, indent=2))
        elif plan is not None and not rows:
            self.stdout.write(f"{path}: {len(plan.tiers)} tiers, {len(plan.phases)} phases, no fault")
            self.stdout.writelines(f"  note: {line}" for line in notes_on(plan, options["project"]))
        if rows:
            faults = "\n".join(told(path, row) for row in rows)
            count = f"{len(rows)} {'fault' if len(rows) == 1 else 'faults'}"
            raise CommandError(count if options["as_json"] else f"{faults}\n{count}")

    def _explain(self, _path: Path, text: str, options: dict[str, Any]) -> None:
        answer = trials.explain(
            project_for(options["project"]),
            read_plan_text(text),
            options=RunOptions(safety_profile=options["safety_profile"]),
            splits=not is_json(text),
        )
        if options["as_json"]:
            self.stdout.write(json.dumps(answer, indent=2))
            return
        for run in answer["runs"]:
            self.stdout.write(f"Run {run['run_id']}: {run['phase_count']} phases")
            self._values(run["values"])
            for tier in run["tiers"]:
                self.stdout.write(f"Tier {tier['tier_id']}: {visible(tier['name'])}")
                self._values(tier["values"])
                for phase in run["phases"]:
                    if phase["tier_id"] == tier["tier_id"]:
                        mark = " (inserted)" if phase["is_inserted"] else ""
                        self.stdout.write(f"Phase {phase['phase_id']}: {visible(phase['name'])}{mark}")
                        self._values(phase["values"])
            for row in run["advice"]:
                self.stdout.write(f"Advice for {row['phase_id'] or 'the run'}: {visible(row['message'])}")

    def _split(self, _path: Path, text: str, options: dict[str, Any]) -> None:
        plan, limit = read_plan_text(text), options["max_phases"]
        if limit is None:
            limit = trials.split_limit(project_for(options["project"]), plan)
        rows = parts_shown(split_plan(plan, limit), "RUN")
        if options["as_json"]:
            self.stdout.write(json.dumps({"max_phases": limit, "runs": rows}, indent=2))
            return
        for row in rows:
            after = f", after {row['after']} has succeeded" if row["after"] else ""
            self.stdout.write(f"{row['run_id']}: {row['phase_count']} phases{after}")
            for tier in row["tiers"]:
                self.stdout.write(f"  {tier['tier_id']}: {', '.join(tier['phases'])}")
            for wait in row["waits_for"]:
                names = ", ".join(wait["depends_on"])
                self.stdout.write(f"  {wait['phase_id']} needs {names} of an earlier run")

    def _convert(self, path: Path, text: str, _options: dict[str, Any]) -> None:
        forms = both_forms(read_plan_text(text), title=path.stem)
        if is_json(text):
            self.stdout.write(forms["plan"], ending="")
            return
        rows = {"tiers": forms["tiers"], "phases": forms["phases"]}
        self.stdout.write(json.dumps(rows, indent=2, ensure_ascii=False))

    def _values(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self.stdout.write(f"  {row['name']}: {_short(row['value'])}  ({visible(row['rule'])})")


def notes_on(plan: Plan, project_id: str | None) -> Iterator[str]:
    """Yield what is no fault and should be known: what the rules in force advise, and categories unknown to them.

    Without a project, and without a default one, the published rules are meant.
    """
    try:
        project = project_for(project_id)
    except NoProject:
        project = None
    ruleset = trials.in_force(project) if project and project.ruleset else default_ruleset("none")
    if project and project.ruleset:
        with suppress(
            AutopackError
        ):  # a refusal, as of a scope that this project lacks, is for `explain` to tell
            for run in trials.explain(project, plan)["runs"]:
                yield from (
                    f"{row['phase_id'] or 'the run'}: {visible(row['message'])}" for row in run["advice"]
                )
    named = (phase.task_category for phase in plan.phases if phase.task_category)
    yield from map(visible, unfamiliar(named, ruleset, project.settings if project else None))


def _short(value: Any) -> str:
    return visible(value) if isinstance(value, str) else visible(json.dumps(value, ensure_ascii=False))
