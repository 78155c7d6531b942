"""`manage.py token add|list|revoke`: bearer tokens for agents, from the terminal."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from autopack_site.kernel.auth import Role
from autopack_site.kernel.errors import AutopackError
from runs import tokens
from runs.models import ApiToken
from strategy.services import project_for


class Command(BaseCommand):
    """A token's value is printed once, when it is made; only its hash is kept."""

    help = "Make, list and revoke the bearer tokens of agents"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the three sub-commands."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="add|list|revoke")
        add = actions.add_parser("add", help="Make a token and print its value, once")
        add.add_argument("agent", help="the agent's name, as history and trailers will tell it")
        add.add_argument("--role", action="append", required=True, choices=[str(role) for role in Role])
        add.add_argument("--project", help="limit the token to one project")
        add.add_argument("--json", action="store_true", help="answer as JSON")
        listed = actions.add_parser("list", help="Show all tokens, without their values")
        listed.add_argument("--json", action="store_true", help="answer as JSON")
        revoke = actions.add_parser("revoke", help="Revoke a token at once")
        revoke.add_argument("prefix", help="the first characters of its value, as `token list` shows them")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it; refusals are one line."""
        try:
            getattr(self, f"_{options['action']}")(options)
        except AutopackError as error:
            raise CommandError(error.detail) from error

    def _add(self, options: dict[str, Any]) -> None:
        project = project_for(options["project"]) if options["project"] else None
        value = tokens.create_token(options["agent"], roles=options["role"], project=project)
        if options["json"]:
            self.stdout.write(
                json.dumps({"agent": options["agent"], "roles": options["role"], "token": value})
            )
            return
        self.stdout.write(value)
        self.stderr.write("Shown once. Use it as: Authorization: Bearer " + value[: tokens.SHOWN] + "...")

    def _list(self, options: dict[str, Any]) -> None:
        rows = [
            {
                "prefix": token.prefix,
                "agent": token.agent.name,
                "roles": token.roles,
                "project": token.project.project_id if token.project else None,
                "state": "revoked" if token.revoked_at else "valid",
                "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
            }
            for token in ApiToken.objects.select_related("agent", "project")
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            where = row["project"] or "every project"
            self.stdout.write(
                f"{row['prefix']}  {row['state']:8} {row['agent']}: {', '.join(row['roles'])}; {where}"
            )

    def _revoke(self, options: dict[str, Any]) -> None:
        found = list(ApiToken.objects.filter(prefix__startswith=options["prefix"], revoked_at=None)[:2])
        if len(options["prefix"]) < 8 or len(found) != 1:
            raise CommandError("Name exactly one valid token by 8 or more of its first characters")
        tokens.revoke_token(found[0].pk)
        self.stdout.write(f"Revoked {found[0].prefix}")
