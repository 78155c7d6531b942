"""pg_dump and pg_restore of the right version, called without a password on a command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from django.db import connection

from autopack_site.backup.errors import BackupFailed, RestoreFailed
from autopack_site.embedded.wheels import POSTGRES_PACKAGE, POSTGRES_TREE

_DEBIAN = Path("/usr/lib/postgresql")
_OPTIONS = {
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
    "service": "PGSERVICE", "passfile": "PGPASSFILE",
}  # fmt: skip
_EMPTY = """
DO $$
DECLARE found record;
BEGIN
  FOR found IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('DROP TABLE IF EXISTS public.%I CASCADE', found.tablename);
  END LOOP;
  FOR found IN
    SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS
      (SELECT 1 FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
  LOOP
    EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', found.name);
  END LOOP;
END $$
"""


def server_version() -> int:
    """Return the server's version as it counts them: 180001 for 18.1."""
    connection.ensure_connection()
    version: int = connection.cursor().connection.info.server_version
    return version


def dump(path: Path) -> None:
    """Write one snapshot of the database. Raises BackupFailed."""
    program = _program("pg_dump")
    if program is None:
        raise BackupFailed(_missing("pg_dump"))
    done = _run([program, "--format=custom", "--no-owner", "--no-privileges", f"--file={path}"])
    if done.returncode != 0:
        raise BackupFailed(f"pg_dump failed: {done.stderr.strip()[-1000:]}")


def load(path: Path) -> None:
    """Empty the database and fill it from a dump, whole or not at all. Raises RestoreFailed."""
    program = _program("pg_restore")
    if program is None:
        raise RestoreFailed(_missing("pg_restore"))
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY)
    name = str(connection.settings_dict["NAME"])
    connection.close()
    argv = [
        program, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={name}",
        str(path),
    ]  # fmt: skip
    done = _run(argv)
    if done.returncode != 0:
        raise RestoreFailed(f"pg_restore failed: {done.stderr.strip()[-1000:]}")


def other_sessions() -> int:
    """Return how many other programs are connected to the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            # what a session of another role is can't be seen: it is then taken for a program
            " AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'"
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def is_usable() -> bool:
    """Tell whether there is a pg_restore for this server."""
    return _program("pg_restore") is not None


def _program(name: str) -> str | None:
    """Return the path of the program of the server's own major version, else of the next newer one.

    An older one refuses a newer server.
    """
    major = server_version() // 10000
    found: dict[int, str] = {}
    for path in _places(name):
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = re.search(r"\) (\d+)", done.stdout)
        if done.returncode == 0 and version:
            found.setdefault(int(version[1]), str(path))
    usable = sorted(version for version in found if version >= major)
    return found[usable[0]] if usable else None


def _places(name: str) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path)
    yield from (path for path in sorted(_DEBIAN.glob(f"*/bin/{name}")) if os.access(path, os.X_OK))
    spec = find_spec(POSTGRES_PACKAGE)
    for root in spec.submodule_search_locations or () if spec else ():
        path = Path(root).parent / POSTGRES_TREE / "bin" / name
        if path.is_file():
            yield path


def _missing(name: str) -> str:
    major = server_version() // 10000
    return f"There is no {name} of version {major} or newer: install the package postgresql-client-{major}"


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _environment() -> dict[str, str]:
    """Return libpq's variables for Django's own connection: a command line would show the password."""
    database = connection.settings_dict
    named = {
        "NAME": "PGDATABASE",
        "HOST": "PGHOST",
        "PORT": "PGPORT",
        "USER": "PGUSER",
        "PASSWORD": "PGPASSWORD",
    }
    given = {variable: str(database[key]) for key, variable in named.items() if database.get(key)}
    options = database.get("OPTIONS", {})
    given |= {variable: str(options[key]) for key, variable in _OPTIONS.items() if options.get(key)}
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": os.devnull, **given}
