"""Where the embedded servers keep their data and sockets, made so that nobody else can have a hand in it.

An ordinary user's servers live in `<state dir>/services`, mode 0700. Root's servers run as another account,
which often can't even reach the state directory (a clone below /root); they live in a folder of their own,
`/var/lib/autopack-<uid>-<hash of the state dir>`. That folder belongs to root, so that the account can't swap
what is in it; below it `pgdata`, `redis` and `run` belong to the account, `bin-*` and `log` to root.
Nothing outside these folders changes mode or owner.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from autopack_site.embedded.accounts import Account
from autopack_site.embedded.errors import EmbeddedUnavailable, UnsafeFolder

# sun_path holds 108 bytes with its end; some clients count one less.
SOCKET_PATH_LIMIT_BYTES = 107
POSTGRES_SOCKET = ".s.PGSQL.5432"
REDIS_SOCKET = "redis.sock"
_BASES_OF_ROOT = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 (made and checked as this module says)
_BASE_OF_SOCKETS = Path("/tmp")  # noqa: S108


@dataclass(frozen=True)
class Folders:
    """The folders of one pair of servers. All exist once `prepare` has returned."""

    state_dir: Path
    home: Path
    data: Path
    redis: Path
    sockets: Path
    logs: Path


def locate(state_dir: Path, account: Account) -> Folders:
    """Return the folders for `state_dir` without making any. The same answer each time on one machine."""
    state_dir = state_dir.resolve()
    label = f"autopack-{account.uid}-{hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]}"
    home = _base_of_root() / label if account.is_other else state_dir / "services"
    sockets = home / "run"
    if len(os.fsencode(sockets / POSTGRES_SOCKET)) >= SOCKET_PATH_LIMIT_BYTES:
        sockets = _BASE_OF_SOCKETS / label
    return Folders(state_dir, home, home / "pgdata", home / "redis", sockets, home / "log")


def prepare(state_dir: Path, account: Account) -> Folders:
    """Make what is missing and check what is there; return the folders.

    Raises UnsafeFolder when something else already stands in a folder's place: it is never used or repaired.
    """
    folders = locate(state_dir, account)
    folders.state_dir.mkdir(parents=True, exist_ok=True)
    private(folders.home, mode=0o711 if account.is_other else 0o700)
    private(folders.logs)
    for path in (folders.redis, folders.sockets):
        private(path, account=account)
    return folders


def private(path: Path, *, mode: int = 0o700, account: Account | None = None) -> None:
    """Make the folder `path` if it is missing, for `account` or ourselves; its parent must exist.

    The checks and changes go through a descriptor of the folder itself, so a link or a folder that another
    user put there first is refused with UnsafeFolder.
    """
    owner = account.uid if account else os.geteuid()
    group = account.gid if account else -1
    try:
        path.mkdir(mode=0o700)
        is_new = True
    except FileExistsError:
        is_new = False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UnsafeFolder(f"{path} must be a folder of ours, not a link or a file: remove it") from error
    try:
        found = os.fstat(descriptor)
        # Between making a folder and giving it away we may have died: it is then still ours, and empty.
        ours = {owner, os.geteuid()} if is_new or not os.listdir(descriptor) else {owner}
        if found.st_uid not in ours:
            raise UnsafeFolder(f"{path} belongs to user {found.st_uid}, not to {owner}: remove it")
        if found.st_uid != owner:
            os.fchown(descriptor, owner, group)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def remove(folders: Folders) -> None:
    """Delete the data, sockets and logs. The servers must be stopped. Links are removed, never followed."""
    for path in (folders.sockets, folders.home):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _base_of_root() -> Path:
    for base in _BASES_OF_ROOT:
        if base.is_dir() and os.access(base, os.W_OK | os.X_OK):
            return base
    raise EmbeddedUnavailable(
        "Neither /var/lib nor /var/tmp can be written, so the embedded servers have no place for their data: "
        "set DATABASE_URL and AUTOPACK_REDIS_URL"
    )
