"""Git indexes of commits, remembered: reading a large tree anew for each patch would cost a process.

Git itself does not check an index's own checksum when it reads one, so it is checked here: a file that a
crash of the machine has torn is forgotten, not used.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

KEPT = 32
# The 32-bit mode of an entry whose type is 1010, a symbolic link (gitformat-index(5)); versions 2 to 4 alike.
_LINK_MODE = (0o120000).to_bytes(4, "big")


def may_hold_links(index: Path) -> bool:
    """Tell whether an index may name a symbolic link; False is certain, True may be a chance of its other bytes."""
    return _LINK_MODE in index.read_bytes()


class Indexes:
    """The folder of remembered indexes in a mirror, one file a commit; shared without a lock."""

    def __init__(self, git_dir: Path) -> None:
        self.folder = git_dir / "autopack" / "index"

    def take(self, commit: str, target: Path) -> bool:
        """Make target the index of commit if it is remembered; tell whether it was.

        A hard link does: git never writes an index in place, it renames a new one over it.
        """
        try:
            os.link(self.folder / commit, target)
        except FileNotFoundError:
            return False
        content = target.read_bytes()
        if hashlib.sha1(content[:-20], usedforsecurity=False).digest() != content[-20:]:
            target.unlink()
            self.forget(commit)
            return False
        with suppress(FileNotFoundError):
            os.utime(self.folder / commit)
        return True

    def keep(self, commit: str, index: Path) -> None:
        """Remember index as that of commit; forget the longest unused beyond 32."""
        with suppress(FileExistsError):
            os.link(index, self.folder / commit)
        entries = list(os.scandir(self.folder))
        if len(entries) > KEPT:
            with suppress(FileNotFoundError):
                entries.sort(key=lambda entry: entry.stat().st_mtime)
                for entry in entries[: len(entries) - KEPT]:
                    os.unlink(entry.path)

    def forget(self, commit: str) -> None:
        """Forget the index of commit."""
        (self.folder / commit).unlink(missing_ok=True)
