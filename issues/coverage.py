"""Whether a run's scopes cover where an issue lies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autopack_site.kernel.globs import covered

# Stand for any file name and any depth when a glob is asked for as if it were a path.
_ANY_NAME = "\x01\x01"
_ANY_DEPTH = "\x01/\x01"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the completed phases of a run could touch: everything, or what their globs cover."""

    is_everything: bool
    globs: tuple[str, ...]

    @classmethod
    def of(cls, scopes: Iterable[Sequence[str]]) -> Coverage:
        """Return what phases with these scopes cover together; an empty scope is the whole repository."""
        listed = [tuple(scope) for scope in scopes]
        globs = dict.fromkeys(glob for scope in listed for glob in scope)
        return cls(any(not scope for scope in listed), tuple(globs))

    def holds(self, paths: Sequence[str], scopes: Sequence[Sequence[str]]) -> bool:
        """Tell whether all the paths are covered; where evidence names none, all the scopes that saw it.

        An entry seen by a phase without a scope, and naming no path, needs a run that covers everything.
        """
        if self.is_everything:
            return True
        if paths:
            return all(covered(path, self.globs) for path in paths)
        return bool(scopes) and all(
            bool(scope) and all(self._covers_glob(glob) for glob in scope) for scope in scopes
        )

    def _covers_glob(self, glob: str) -> bool:
        """Tell whether the globs cover what one glob covers (never wrongly yes; no for exotic overlaps)."""
        parts = glob.removeprefix("./").strip("/").split("/")
        names = [_ANY_DEPTH if part == "**" else part.replace("*", _ANY_NAME) for part in parts]
        if glob.endswith("/") or not set(parts[-1]) & set("*?"):
            names.append(_ANY_DEPTH)  # a folder's name, or a file's, and all that is below it
        return covered("/".join(names), self.globs)
