"""What a parsed patch consists of, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What happens to a file. MODE is a change of the mode alone."""

    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"
    RENAME = "rename"
    COPY = "copy"
    MODE = "mode"


@dataclass(frozen=True)
class FileChange:
    """One file of a patch. Paths are without prefix; bytes that aren't UTF-8 are surrogate-escaped.

    Modes are six octal digits or None where the patch doesn't say. `added_lines` holds (line of the patch,
    text without its line end).
    """

    old_path: str | None
    new_path: str | None
    kind: Kind
    old_mode: str | None
    new_mode: str | None
    is_binary: bool
    hunks: int
    added: int
    removed: int
    line: int
    added_lines: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the old and the new name, once each."""
        return tuple(dict.fromkeys(path for path in (self.old_path, self.new_path) if path is not None))


@dataclass(frozen=True)
class DiffLimits:
    """Bounds of one patch; lines are counted with their line end."""

    max_bytes: int = 5 * 1024 * 1024
    max_files: int = 500
    max_hunks: int = 20_000
    max_line_bytes: int = 256 * 1024
