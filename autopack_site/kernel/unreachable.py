"""A database that does not answer, told in two lines where a person typed a command."""

from __future__ import annotations

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError

STATUS = 69  # EX_UNAVAILABLE of sysexits.h
ADVICE = "start everything with `make up`, or set DATABASE_URL to your server's address"
_GOING_AWAY = ("08", "57P")  # classes of SQLSTATE: connections, and a server that stops or starts


def is_unreachable(error: Error) -> bool:
    """Tell a server that is not there, or went away, from one that answers with a complaint."""
    if not isinstance(error, (OperationalError, InterfaceError)):
        return False
    state = getattr(error.__cause__, "pgcode", None)
    return state is None or str(state).startswith(_GOING_AWAY)


def lines_for(error: Error) -> list[str]:
    """Return what a person should read in place of a traceback."""
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    lines = [f"PostgreSQL: {said}", f"  -> {ADVICE}"]
    if not settings.PRODUCTION:
        lines.append("     (`.venv/bin/python manage.py doctor` looks at everything that Autopack needs)")
    return lines
