"""The first start: an operator who can sign in, and a token that can call the API, shown once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from autopack_site.kernel.auth import Role
from runs.tokens import create_token

OPERATOR = "operator"
# Two starts at once must not both find that nobody is there.
_LOCK_KEY = 0x6175746F  # "auto"


@dataclass(frozen=True)
class FirstAccounts:
    """What was made. The two secrets are stored as hashes only and can't be shown again."""

    user_name: str
    password: str
    token: str

    def lines(self) -> list[str]:
        """Say how to use them."""
        address = f"http://{settings.BIND}"
        return [
            "This is the first start. Keep what follows: it is shown once and stored as hashes only.",
            f"  admin       {address}/admin/   user {self.user_name}   password {self.password}",
            f"  API token   {self.token}",
            f'  try it      curl -H "Authorization: Bearer {self.token}" {address}/runs',
            "  next        .venv/bin/python manage.py project init autopack.yaml     and edit it",
            "              .venv/bin/python manage.py project add PATH_OR_URL --config autopack.yaml --default",
        ]


def create_first_accounts() -> FirstAccounts | None:
    """Create the operator and a token, in one transaction; None when a superuser exists already."""
    users = get_user_model()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_KEY])
        if users.objects.filter(is_superuser=True).exists():
            return None
        password = secrets.token_urlsafe(18)
        users.objects.create_superuser(username=OPERATOR, password=password)
        return FirstAccounts(OPERATOR, password, create_token(OPERATOR, roles=[Role.OPERATOR]))
