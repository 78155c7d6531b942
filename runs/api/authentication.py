"""Bearer tokens for the API; and, where it is switched on, one named legacy client on loopback."""

from __future__ import annotations

from django.conf import settings
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from autopack_site.kernel.auth import Role
from runs.tokens import Caller, caller_of

LEGACY = Caller(
    name="legacy-client",
    roles=frozenset({Role.BUILDER, Role.AUDITOR, Role.READER, "starter"}),
)


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer VALUE`."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """Return the caller; None when no token was presented; raise 401 for a bad one."""
        parts = get_authorization_header(request).split()
        if not parts:
            return (LEGACY, None) if settings.OPEN_LOOPBACK else None
        if parts[0].lower() != b"bearer" or len(parts) != 2:
            raise exceptions.AuthenticationFailed("Send 'Authorization: Bearer TOKEN'")
        try:
            value = parts[1].decode("ascii")
        except UnicodeDecodeError:
            raise exceptions.AuthenticationFailed("The token is not valid") from None
        caller = caller_of(value)
        if caller is None:
            raise exceptions.AuthenticationFailed("The token is unknown, expired or revoked")
        return caller, None

    def authenticate_header(self, request: Request) -> str:
        """Make an unauthenticated answer a 401 with this challenge."""
        return 'Bearer realm="autopack"'
