"""Where a project's repository is: an absolute path, or a URL that git reads without running code."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from autopack_site.kernel.errors import Invalid, problem

MAX_SOURCE_CHARS = 1024
SCHEMES = ("https", "ssh", "file")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^:\s-][^\s]*")


def check_source(source: str) -> str:
    """Return source. Raises Invalid for anything else, and for a URL that carries a password."""
    wrong = _problem(source)
    if wrong:
        raise Invalid([problem("bad_source", ["source"], wrong)])
    return source


def shown_source(source: str) -> str:
    """Return source as it may be shown to anybody: a URL without what may be a credential.

    Of http(s) URLs the whole user part goes, of others the password; query and fragment always go.
    """
    if "://" not in source:
        return source
    try:
        parts = urlsplit(source)
        user, password = parts.username, parts.password
    except ValueError:
        return "(a URL that can't be read)"
    place = parts.netloc.rpartition("@")[2]
    if user and password is None and parts.scheme.lower() not in ("http", "https"):
        place = f"{user}@{place}"
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def _problem(source: str) -> str | None:
    if not source or len(source) > MAX_SOURCE_CHARS or not source.isprintable():
        return f"a repository is named by 1 to {MAX_SOURCE_CHARS} printable characters"
    if source.startswith("/"):
        return None
    if "://" in source:
        try:
            parts = urlsplit(source)
            user, password, host = parts.username, parts.password, parts.hostname
        except ValueError:
            return "the URL can't be read"
        if parts.scheme not in SCHEMES:
            return f"the URL's scheme must be one of {', '.join(SCHEMES)}"
        if password is not None or (user is not None and parts.scheme == "https"):
            return "the URL holds a credential, which would be stored and shown: put it into AUTOPACK_GIT_CREDENTIALS"
        if parts.scheme != "file" and (not host or host.startswith("-")):
            return "the URL names no host"
        return None
    if _SCP.fullmatch(source):
        return None
    return "a repository is an absolute path, a URL or user@host:path"
