"""`manage.py prepare`: bring database, roles and static files up to date; at the first start, make an operator."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from autopack_site.first_start import create_first_accounts
from autopack_site.roles import create_roles


class Command(BaseCommand):
    """Safe to repeat. `manage.py up` calls it at each start; a deployment calls it once a release."""

    help = "Migrate, bring roles up to date, collect static files; at the first start create an operator and a token."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Do it."""
        call_command("migrate", interactive=False, verbosity=0)
        create_roles()
        call_command("collectstatic", interactive=False, verbosity=0)
        accounts = create_first_accounts()
        if accounts is not None:
            self.stdout.write("\n".join(accounts.lines()))
