"""Bearer tokens for the API; and, where it is switched on, one named legacy client on loopback."""

from __future__ import annotations

from django.conf import settings
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from autopack_site.kernel.auth import Role
from runs import throttles
from runs.tokens import TOKENLESS, Caller, caller_of

LEGACY = Caller(
    name=TOKENLESS,
    roles=frozenset({Role.BUILDER, Role.AUDITOR, Role.READER, "starter"}),
)


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer VALUE`."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """Return the caller; None when no token was presented.

        Raises AuthenticationFailed (401) for a bad token, Throttled (429) before the database is asked when the
        token or its address asks too often, and in place of a 401 that comes too often.
        """
        header = get_authorization_header(request)
        address = throttles.address_of(request._request)
        throttles.admit(address, header)
        parts = header.split()
        if not parts:
            return (LEGACY, None) if settings.OPEN_LOOPBACK else None
        try:
            return _caller(parts), None
        except exceptions.AuthenticationFailed:
            throttles.count_failure(address)
            raise

    def authenticate_header(self, request: Request) -> str:
        """Make an unauthenticated answer a 401 with this challenge."""
        return 'Bearer realm="autopack"'


def _caller(parts: list[bytes]) -> Caller:
    if parts[0].lower() != b"bearer" or len(parts) != 2:
        raise exceptions.AuthenticationFailed("Send 'Authorization: Bearer TOKEN'")
    try:
        value = parts[1].decode("ascii")
    except UnicodeDecodeError:
        raise exceptions.AuthenticationFailed("The token is not valid") from None
    caller = caller_of(value)
    if caller is None:
        raise exceptions.AuthenticationFailed("The token is unknown, expired or revoked")
    return caller
