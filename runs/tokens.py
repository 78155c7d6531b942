"""Agents and their bearer tokens: made, presented, revoked. Only hashes are stored."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from autopack_site.kernel import clock
from autopack_site.kernel.auth import Role
from autopack_site.kernel.errors import Invalid, problem
from runs import rows
from runs.models import Agent, ApiToken
from strategy.models import Project

PREFIX = "apk_"
TOKENLESS = "legacy-client"  # what clients without a token are known as, all of them
SHOWN = 12  # characters of the value kept for people to recognise it by
TOUCH_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Caller:
    """The authenticated caller of one request (kernel.auth.Principal)."""

    name: str
    roles: frozenset[str]
    project_scope: str | None = None
    token_id: int | None = None
    is_authenticated: bool = True
    is_anonymous: bool = False

    def may(self, *roles: str) -> bool:
        """Tell whether the caller holds one of the roles; an operator holds every one."""
        return bool(self.roles & {*roles, Role.OPERATOR})


def digest_of(value: str) -> str:
    """Return what is stored of a token: the SHA-256 of 256 random bits can't be turned back."""
    return hashlib.sha256(value.encode()).hexdigest()


@transaction.atomic
def create_token(
    agent_name: str,
    *,
    roles: Iterable[str],
    project: Project | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Create a token for an agent (made if new) and return its value, which is never shown again.

    Raises Invalid for an unknown role, an empty name, and the name of the clients without a token.
    """
    wanted = sorted(set(roles))
    unknown = [role for role in wanted if role not in set(Role)]
    if unknown or not wanted:
        raise Invalid([problem("enum", ["roles"], f"Some of {', '.join(Role)}; got {wanted}")])
    if not agent_name or len(agent_name) > 128:
        raise Invalid([problem("value_error", ["agent"], "1 to 128 characters")])
    if agent_name == TOKENLESS:
        raise Invalid(
            [problem("value_error", ["agent"], f"{TOKENLESS} is the name of clients without a token")]
        )
    now = clock.now()
    agent, _ = Agent.objects.get_or_create(name=agent_name, defaults={"created_at": now})
    value = PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(
        agent=agent,
        project=project,
        prefix=value[:SHOWN],
        digest=digest_of(value),
        roles=wanted,
        created_at=now,
        expires_at=expires_at,
    )
    return value


def caller_of(value: str) -> Caller | None:
    """Return the caller behind a presented token, or None when it is unknown, expired or revoked."""
    now = clock.now()
    token = rows.token_by_digest.first(digest_of(value))
    if token is None or not token.is_valid(now):
        return None
    if token.last_used_at is None or now - token.last_used_at > TOUCH_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return Caller(
        name=token.agent.name,
        roles=frozenset(token.roles),
        project_scope=token.project.project_id if token.project else None,
        token_id=token.pk,
    )


def revoke_token(token_id: int) -> bool:
    """Revoke a token at once; False when it was revoked already or never was."""
    return bool(ApiToken.objects.filter(pk=token_id, revoked_at=None).update(revoked_at=clock.now()))
