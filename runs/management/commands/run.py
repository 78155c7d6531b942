"""`manage.py run PLAN`: start a run from a plan document or its JSON, and watch it if asked to."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from autopack_site.kernel import clock, unreachable
from autopack_site.kernel.errors import AutopackError, Invalid, problem
from runs import watch
from runs.agents import agents_for, config_of
from runs.api.misspelt import misspelt
from runs.api.serializers.runs import StartIn
from runs.lifecycle import PhaseState, RunState
from runs.models import Run
from runs.plan import plan_from_json
from runs.promotion import is_eligible, remarks
from runs.services import cancel_run, start_plan_document, start_run
from strategy.category_advice import unfamiliar
from strategy.types import RunOptions

OPERATOR = "command line"
MAX_PLAN_BYTES = 4 * 1024 * 1024
_INTEGERS = ("token_cap", "max_phases", "max_duration_minutes")


class Command(BaseCommand):
    """With --watch the exit status is 0 for DONE_SUCCESS only. Ctrl-C stops watching, never the run."""

    help = "Start a run from a plan (Markdown, or JSON as POST /runs/start takes it)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare them."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("plan", nargs="?", metavar="PLAN", help="a .md or .json file")
        what.add_argument("--attach", metavar="RUN_ID", help="watch a run that was started before")
        what.add_argument("--cancel", metavar="RUN_ID", help="end a run as DONE_CANCELLED")
        parser.add_argument(
            "--why", metavar="TEXT", default="", help="of --cancel: the reason, kept with the run"
        )
        parser.add_argument("--project", metavar="ID", help="the project; else the default one")
        parser.add_argument("--run-id", metavar="ID", help="the run's id; else one made from the time")
        parser.add_argument("--watch", action="store_true", help="follow the run to its end")
        parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON, a line a thing")
        parser.add_argument("--safety-profile", metavar="NAME", help="normal or safety_critical")
        parser.add_argument("--scope", metavar="NAME", help="multi_tier or single_tier")
        parser.add_argument("--token-cap", type=int, metavar="N", help="of the run; else the ruleset's")
        parser.add_argument(
            "--max-phases",
            type=int,
            metavar="N",
            help="else the ruleset's; more are split into runs",
        )
        parser.add_argument(
            "--max-minutes", type=int, metavar="N", help="time limit of the run; else the ruleset's"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Start, say how to go on, watch; or cancel."""
        if options["cancel"]:
            self._cancel(options)
            return
        if options["attach"]:
            run = Run.objects.select_related("project").filter(pk=options["attach"]).first()
            if run is None:
                raise CommandError(f"Run {options['attach']} not found")
            runs = [run]
        else:
            runs = self._start(Path(options["plan"]), options)
        if options["attach"] or options["watch"]:
            sys.exit(self._watch(runs, options))

    def _start(self, path: Path, options: dict[str, Any]) -> list[Run]:
        try:
            runs = start(
                path,
                run_id=options["run_id"],
                project_id=options["project"],
                asked=RunOptions(
                    safety_profile=options["safety_profile"],
                    run_scope=options["scope"],
                    token_cap=options["token_cap"],
                    max_phases=options["max_phases"],
                    max_duration_minutes=options["max_minutes"],
                ),
            )
        except Invalid as error:
            raise CommandError("\n".join(told(path, row) for row in error.problems)) from None
        except AutopackError as error:
            raise CommandError(error.detail) from None
        for run in runs:
            if options["as_json"]:
                self.stdout.write(json.dumps(as_row(run)))
                continue
            self.stdout.write(f"Run {run.run_id} started: {run.phases.count()} phases, branch {run.branch}")
            self.stdout.writelines(f"  note: {line}" for line in told_before(run))
        if not options["as_json"] and not options["watch"]:
            self.stdout.write("\n".join(next_steps(runs[0])))
        return runs

    def _cancel(self, options: dict[str, Any]) -> None:
        try:
            run = cancel_run(options["cancel"], by=OPERATOR, why=options["why"])
        except AutopackError as error:
            raise CommandError(error.detail) from None
        if options["as_json"]:
            self.stdout.write(json.dumps(as_row(run)))
        else:
            self.stdout.write(f"Run {run.run_id} ended {run.state}; its agents and gates are being stopped")

    def _watch(self, runs: list[Run], options: dict[str, Any]) -> int:
        console = watch.console()
        print_json = (
            (lambda event: self.stdout.write(json.dumps(event_row(event)))) if options["as_json"] else None
        )
        try:
            ended = [
                watch.follow(run.run_id, console, on_event=print_json, shows_all=options["verbosity"] > 1)
                for run in runs
            ]
        except KeyboardInterrupt:
            if not options["as_json"]:
                again = f".venv/bin/python manage.py run --attach {shlex.quote(runs[0].run_id)}"
                self.stdout.write(f"\nNo longer watching; the run goes on. See it again: {again}")
            return 130
        except Error as error:
            if not unreachable.is_unreachable(error):
                raise
            again = f".venv/bin/python manage.py run --attach {shlex.quote(runs[0].run_id)}"
            lines = [
                *unreachable.lines_for(error),
                f"The run goes on when the workers do. Watch it again: {again}",
            ]
            self.stderr.write("\n".join(lines))
            return unreachable.STATUS
        for run in ended:
            if options["as_json"]:
                self.stdout.write(json.dumps(as_row(run)))
                continue
            reason = f": {watch.plain(run.failure_reason, 400)}" if run.failure_reason else ""
            self.stdout.write(f"Run {run.run_id} ended {run.state}{reason}")
            self.stdout.write("\n".join(f"  {line}" for line in closing(run)))
        return 0 if all(run.state == RunState.DONE_SUCCESS for run in ended) else 1


def told_before(run: Run) -> Iterator[str]:
    """Yield what a reader should know before waiting for the run: what its rules advise, who builds, what tests."""
    document = json.loads(run.strategy.canonical)
    yield from (
        f"{row['phase_id'] or 'the run'}: {watch.plain(row['message'])}" for row in document["advice"]
    )
    if run.project.ruleset is not None:
        named = run.phases.values_list("task_category", flat=True)
        yield from map(watch.plain, unfamiliar(named, run.project.ruleset.document, config_of(run)))
    yield from waits_for(run)


def waits_for(run: Run) -> Iterator[str]:
    """Yield who builds the run and what tests it, where that is nobody and nothing."""
    phases = run.phases.order_by("phase_index")
    alone = sorted({phase.task_category for phase in phases if not agents_for(run, phase, "build")})
    if alone:
        yield (
            f"no builder of the project takes {', '.join(map(watch.plain, alone))}: each such phase waits "
            f"{settings.CLAIM_DEADLINE_S:g} s for a claim over HTTP, then fails"
        )
    config = config_of(run)
    used = {phase.limits["ci_profile"] for phase in phases}
    if untested := sorted(name for name in used if not config.gate_steps(name)):
        yield f"the gate profile {' and '.join(untested)} has no steps: patches land untested (waived)"


def closing(run: Run) -> Iterator[str]:
    """Yield what came of an ended run and what to do with it."""
    folder = settings.RUNS_DIR / run.run_id
    commits = run.phases.filter(state=PhaseState.COMPLETE).count()
    yield f"branch: {run.branch}, {commits} commit{'' if commits == 1 else 's'}"
    eligible, reasons = is_eligible(run, list(run.tiers.all()))
    yield f"promotable: {'yes' if eligible else 'no, ' + watch.plain(reasons[0], 200)}"
    yield from (f"but: {remark.detail}" for remark in remarks(run))
    if eligible:
        yield f"merge it: {merge_command(run)}"
    yield f"files: {folder}"
    if run.state not in (RunState.DONE_SUCCESS, RunState.DONE_CANCELLED):
        yield f"what to do next: {folder / 'incident' / 'incident.md'}"


def merge_command(run: Run) -> str:
    """Return the command that merges the run's branch, for a local repository there, else in any clone."""
    source, branch = run.project.source, shlex.quote(run.branch)
    if source.startswith("/"):
        return f"git -C {shlex.quote(source)} merge {branch}"
    return f"git fetch origin {branch} && git merge FETCH_HEAD"


def start(
    path: Path,
    *,
    run_id: str | None,
    project_id: str | None,
    asked: RunOptions,
) -> list[Run]:
    """Start the run, or the linked runs, of the plan in a file. What is given here wins over what a file says.

    Raises Invalid, and whatever `runs.services.start_run` raises.
    """
    text = read_plan(path)
    wanted = run_id or f"run-{clock.now():%Y%m%d-%H%M%S}"
    if path.suffix.lower() != ".json":
        return start_plan_document(wanted, project_id=project_id, text=text, options=asked, by=OPERATOR)
    body = _json_body(text)
    given = body.get("run") or {}
    if not isinstance(given, dict):
        raise Invalid([problem("type", ["body", "run"], "must be an object")])
    numbers: dict[str, int] = {}
    for name in _INTEGERS:
        value = given.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid([problem("type", ["body", "run", name], "must be a whole number")])
        numbers[name] = value
    texts = {name: given.get(name) for name in ("run_id", "project_id", "safety_profile", "run_scope")}
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise Invalid([problem("type", ["body", "run", name], "must be a text")])
    if wrong := misspelt(StartIn, body):
        raise Invalid(wrong)
    plan = plan_from_json(body.get("tiers", []), body.get("phases", []))
    said = {"safety_profile": texts["safety_profile"], "run_scope": texts["run_scope"], **numbers}
    typed = {name: value for name, value in asdict(asked).items() if value is not None}
    merged = RunOptions(**{**said, **typed})
    project = project_id or texts["project_id"] or body.get("project_id")
    name = run_id or texts["run_id"] or wanted
    return [start_run(name, project_id=project, plan=plan, options=merged, by=OPERATOR)]


def read_plan(path: Path) -> str:
    """Return the text of a plan's file. Raises Invalid for one that can't be read as UTF-8 text."""
    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise Invalid(f"can't be read: {error.strerror}") from error
    if len(data) > MAX_PLAN_BYTES:
        raise Invalid(f"has more than {MAX_PLAN_BYTES:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Invalid(f"line {line}: not UTF-8") from error


def _json_body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise Invalid(f"line {error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise Invalid("nested too deeply") from error
    if not isinstance(body, dict):
        raise Invalid("must hold an object with tiers and phases")
    return body


def told(path: Path, row: dict[str, Any]) -> str:
    """Return one fault of a plan as a line that names the file and the place."""
    if "line " in row["msg"]:
        return f"{path}: {row['msg']}"
    place = ".".join(str(part) for part in row["loc"] if part != "body")
    return f"{path}: {place}: {row['msg']}" if place else f"{path}: {row['msg']}"


def as_row(run: Run) -> dict[str, Any]:
    """Return what scripts need to know about a run."""
    return {
        "run_id": run.run_id,
        "project_id": run.project.project_id,
        "state": str(run.state),
        "branch": run.branch,
        "failure_reason": run.failure_reason,
    }


def event_row(event: watch.Event) -> dict[str, Any]:
    """Return an event for scripts."""
    return {
        "id": event.id, "at": event.at.isoformat(), "subject": event.subject, "event": event.event,
        "state": event.state, "who": event.who, "why": event.why,
    }  # fmt: skip


def next_steps(run: Run) -> list[str]:
    """Return what an operator may type next."""
    name = shlex.quote(run.run_id)
    return [
        "Workers carry it on (make up starts them). What next:",
        f"  .venv/bin/python manage.py run --attach {name}      watch it",
        f"  http://{settings.BIND}/admin/      look at it",
        f"  {settings.RUNS_DIR / run.run_id}      its files, as it goes",
    ]
