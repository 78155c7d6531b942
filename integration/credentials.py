"""Credentials for repositories behind https: who Autopack is to a server, told to git by its environment only.

Rows are those of git's own credential store (`git help credential-store`): `https://user:password@host[:port][/path]`,
user and password percent-encoded. Neither stands in a command line, a configuration file, a log or the database.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

HTTPS_PORT = 443


@dataclass(frozen=True, repr=False)
class Credential:
    """What one row says. `folders` is the path that it is for; none is the whole server."""

    host: str
    port: int
    folders: tuple[str, ...]
    user: str
    password: str

    @property
    def header(self) -> str:
        """Return the header that logs in (RFC 7617)."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Authorization: Basic {base64.b64encode(pair).decode('ascii')}"


@lru_cache(maxsize=4)
def credentials(rows: str) -> tuple[Credential, ...]:
    """Return what the rows say; blank ones and those that begin with # are skipped.

    Raises ImproperlyConfigured with the number of a row that says nothing, never with its text.
    """
    found = []
    for number, row in enumerate(rows.splitlines(), start=1):
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        try:
            found.append(_read(row.strip()))
        except ValueError as error:
            raise ImproperlyConfigured(
                f"AUTOPACK_GIT_CREDENTIALS, line {number}: expected https://user:password@host[/path]"
            ) from error
    return tuple(found)


def header_for(address: str, rows: Iterable[Credential]) -> str | None:
    """Return the header for an https address: that of the longest path that it lies below, None without any."""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").lower(), parts.port or HTTPS_PORT
    except ValueError:
        return None
    if parts.scheme.lower() != "https" or ".." in parts.path:
        return None
    folders = _folders(parts.path)
    fitting = [
        row for row in rows
        if (row.host, row.port) == (host, port) and folders[: len(row.folders)] == row.folders
    ]  # fmt: skip
    best = max(fitting, key=lambda row: len(row.folders), default=None)
    return None if best is None else best.header


def _read(row: str) -> Credential:
    parts = urlsplit(row)
    if (
        parts.scheme.lower() != "https"
        or not parts.hostname
        or parts.username is None
        or parts.password is None
    ):
        raise ValueError("not a row of a credential store")
    user, password = unquote(parts.username), unquote(parts.password)
    if ":" in user or any(ord(char) < 32 for char in user + password):
        raise ValueError("a colon or a control character can't be sent")
    return Credential(parts.hostname.lower(), parts.port or HTTPS_PORT, _folders(parts.path), user, password)


def _folders(path: str) -> tuple[str, ...]:
    return tuple(part for part in unquote(path).split("/") if part)
