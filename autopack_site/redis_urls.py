"""Redis addresses: one setting, in redis-py's form, serves redis-py and Celery alike."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_SOCKET = "unix"


def broker_url(url: str) -> str:
    """Return the address as Celery's transport takes it: only a unix socket is spelled differently there."""
    parts = urlsplit(url)
    if parts.scheme != _SOCKET:
        return url
    database = dict(parse_qsl(parts.query)).get("db", "0")
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"redis+socket://{login}{parts.path}?{urlencode({'virtual_host': database})}"


def with_database(url: str, number: int) -> str:
    """Return the address of database `number` of the same server."""
    parts = urlsplit(url)
    if parts.scheme == _SOCKET:
        query = {**dict(parse_qsl(parts.query)), "db": str(number)}
        return f"{_SOCKET}://{parts.netloc}{parts.path}?{urlencode(query)}"
    return urlunsplit(parts._replace(path=f"/{number}"))
