"""`manage.py artefacts rebuild [RUN_ID ...] [--check] [--json]`: files of runs and projects from the database."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from autopack_site.kernel.errors import AutopackError
from integration.artefacts import service
from runs.models import Run


class Command(BaseCommand):
    """Status 0: done, or nothing differs. 1: `--check` found differences, or it could not be done."""

    help = (
        "Rebuild the files of runs and projects from the database, or check that they are as they should be."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """No run id means every run and every project."""
        actions = parser.add_subparsers(dest="action", required=True)
        rebuild = actions.add_parser("rebuild", help="write what is missing or differs")
        rebuild.add_argument("run_id", nargs="*", help="these runs and their projects only")
        rebuild.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
        rebuild.add_argument("--json", action="store_true", help="answer as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run it."""
        run_ids = options["run_id"] or None
        self._refuse_unknown(run_ids)
        try:
            if options["check"]:
                self._check(run_ids, as_json=options["json"])
            else:
                self._rebuild(run_ids, as_json=options["json"])
        except AutopackError as error:
            raise CommandError(error.detail) from error

    def _refuse_unknown(self, run_ids: list[str] | None) -> None:
        known = set(Run.objects.filter(pk__in=run_ids or []).values_list("pk", flat=True))
        unknown = [run_id for run_id in run_ids or [] if run_id not in known]
        if unknown:
            raise CommandError(f"Run not found: {', '.join(unknown)}")

    def _rebuild(self, run_ids: list[str] | None, *, as_json: bool) -> None:
        changed = service.rebuild(run_ids)
        if as_json:
            self.stdout.write(json.dumps({"changed": changed}))
            return
        for path in changed:
            self.stdout.write(f"written {path}")
        self.stdout.write(f"{len(changed)} files written")

    def _check(self, run_ids: list[str] | None, *, as_json: bool) -> None:
        found = service.check(run_ids)
        if as_json:
            self.stdout.write(
                json.dumps({"differing": [{"path": row.path, "kind": row.kind} for row in found]})
            )
        else:
            for row in found:
                self.stdout.write(f"{row.kind:8}{row.path}")
            self.stdout.write(f"{len(found)} files differ")
        if found:
            sys.exit(1)
