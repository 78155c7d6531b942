"""`manage.py project init|add|list|config`: the operator's way to bring a repository under Autopack."""

from __future__ import annotations

import json
import re
import shlex
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from autopack_site.kernel.errors import AutopackError, Invalid
from autopack_site.kernel.ids import is_valid_id
from strategy import services
from strategy.config_advice import gaps
from strategy.config_example import EXAMPLE
from strategy.documents import MAX_CHARS
from strategy.models import Project
from strategy.sources import shown_source

OPERATOR = "command line"


class Command(BaseCommand):
    """Add, list and configure projects."""

    help = "Add, list and configure projects"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the sub-commands."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="init|add|list|config")
        init = actions.add_parser("init", help="Write a configuration with comments, to be edited")
        init.add_argument("file", metavar="FILE", help="where to; a file that is there is never overwritten")
        init.set_defaults(as_json=False)
        add = actions.add_parser("add", help="Bring a repository under Autopack")
        add.add_argument("source", metavar="PATH_OR_URL", help="a local repository, or the URL of one")
        add.add_argument(
            "--id", dest="project_id", help="the project's id; else made from the repository's name"
        )
        add.add_argument("--name", default="", help="a name for people")
        add.add_argument("--config", metavar="autopack.yaml", help="builders, auditors, gates, scopes")
        add.add_argument("--default", action="store_true", help="mean this project where none is named")
        _json_flag(add)
        _json_flag(actions.add_parser("list", help="Show all projects"))
        config = actions.add_parser("config", help="Replace a project's configuration")
        config.add_argument("project_id", metavar="ID")
        config.add_argument("--config", metavar="autopack.yaml", required=True)
        _json_flag(config)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the sub-command; a refusal is printed with the lines it concerns and ends with status 1."""
        try:
            rows = getattr(self, f"_{options['action']}")(options)
        except Invalid as error:
            place = options.get("config") or ""
            lines = [
                f"{place}: {row['msg']}" if "line " in row["msg"] else row["msg"] for row in error.problems
            ]
            raise CommandError("\n".join(lines)) from None
        except AutopackError as error:
            raise CommandError(error.detail) from None
        if options["as_json"]:
            self.stdout.write(json.dumps(rows, indent=2))

    def _init(self, options: dict[str, Any]) -> None:
        path = Path(options["file"])
        if path.is_dir():
            path /= "autopack.yaml"
        try:
            with path.open("x", encoding="utf-8") as handle:
                handle.write(EXAMPLE)
        except FileExistsError:
            raise CommandError(f"{path} is there already: it is left as it is") from None
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from None
        self.stdout.write(f"{path} written. Edit it: who builds, what tests. Then:")
        self.stdout.write(
            f"  .venv/bin/python manage.py project add PATH_OR_URL --config {shlex.quote(str(path))} --default"
        )

    def _add(self, options: dict[str, Any]) -> dict[str, Any]:
        source = _source(options["source"])
        project = services.add_project(
            options["project_id"] or _id_from(source),
            name=options["name"],
            source=source,
            config_text=_text(options["config"]),
            is_default=options["default"],
            by=OPERATOR,
        )
        self._say(options, f"Project {project.project_id} added: {shown_source(project.source)}")
        self._advise(options, project)
        return _row(project)

    def _list(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [_row(project) for project in Project.objects.select_related("ruleset")]
        for row in rows:
            mark = "*" if row["is_default"] else " "
            self._say(
                options, f"{mark} {row['project_id']}  {row['source']}  ruleset {row['ruleset_version']}"
            )
        if not rows:
            self._say(
                options,
                "No projects yet: .venv/bin/python manage.py project init FILE, then "
                "project add PATH_OR_URL --config FILE --default",
            )
        return rows

    def _config(self, options: dict[str, Any]) -> dict[str, Any]:
        text = _text(options["config"]) or ""
        project = services.update_project_config(options["project_id"], config_text=text, by=OPERATOR)
        self._say(options, f"Project {project.project_id} configured ({project.config_hash[:12]})")
        self._advise(options, project)
        return _row(project)

    def _advise(self, options: dict[str, Any], project: Project) -> None:
        for lack, advice in gaps(project.settings):
            self._say(options, f"  note: {lack}")
            self._say(options, f"        {advice.replace(' ID ', f' {project.project_id} ')}")
        self._say(options, "  what else to check: .venv/bin/python manage.py doctor")

    def _say(self, options: dict[str, Any], text: str) -> None:
        if not options["as_json"]:
            self.stdout.write(text)


def _json_flag(parser: ArgumentParser) -> None:
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")


def _row(project: Project) -> dict[str, Any]:
    return {
        "project_id": project.project_id,
        "name": project.name,
        "source": shown_source(project.source),
        "default_branch": project.default_branch,
        "is_default": project.is_default,
        "ruleset_version": project.ruleset.version if project.ruleset else None,
        "config_hash": project.config_hash,
    }


def _source(given: str) -> str:
    """Make a local path absolute; leave URLs alone."""
    path = Path(given).expanduser()
    if "://" in given or (not path.exists() and re.match(r"[^/]+@[^/]+:", given)):
        return given
    if not path.is_dir():
        raise CommandError(f"{given}: no such folder, and not a URL")
    return str(path.resolve())


def _id_from(source: str) -> str:
    """Make an id from the last part of the path or URL."""
    last = re.split(r"[/:]", source.rstrip("/"))[-1].removesuffix(".git")
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")[:128]
    if not is_valid_id(found):
        raise CommandError(f"No id can be made from {source}: give one with --id")
    return found


def _text(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        with Path(path).open("rb") as handle:
            content = handle.read(4 * MAX_CHARS + 1)
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
