"""The account that the embedded servers run as. PostgreSQL refuses root, and Redis has no need of it."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autopack_site.embedded.errors import EmbeddedUnavailable

VARIABLE = "AUTOPACK_SERVICE_USER"
DEFAULT_USER = "nobody"


@dataclass(frozen=True)
class Account:
    """A numeric account. `is_other` tells whether this process must drop to it."""

    uid: int
    gid: int
    is_other: bool


def service_account() -> Account:
    """Return who runs the servers: ourselves, or as root the user that AUTOPACK_SERVICE_USER names (nobody).

    The variable takes a name or a number of the user database: initdb looks it up there. No user is made.
    Raises EmbeddedUnavailable for an unknown user and for root.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_other=False)
    name = os.environ.get(VARIABLE) or DEFAULT_USER
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise EmbeddedUnavailable(
            f"PostgreSQL does not run as root, and there is no user {name!r} to drop to: set {VARIABLE} to "
            "an unprivileged user of this machine, or DATABASE_URL and AUTOPACK_REDIS_URL to your servers"
        ) from None
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise EmbeddedUnavailable(
            f"{VARIABLE} names root: PostgreSQL does not run as root; name another user"
        )
    return Account(entry.pw_uid, entry.pw_gid, is_other=True)


def run_as(
    account: Account, argv: Sequence[str], *, cwd: Path, limit_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a short program as the account in a bare environment; return its output, whatever its status.

    Raises OSError when it can't be executed, subprocess.TimeoutExpired after `limit_s` seconds.
    """
    return subprocess.run(
        argv,
        cwd=cwd,
        env=bare_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=limit_s,
        check=False,
        user=account.uid if account.is_other else None,
        group=account.gid if account.is_other else None,
        extra_groups=[] if account.is_other else None,
    )


def bare_environment() -> dict[str, str]:
    """An environment in which no PG* variable, locale or secret of the caller reaches a server."""
    return {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}
