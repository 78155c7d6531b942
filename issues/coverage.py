"""Whether what a run's gates have proved covers where an issue lies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autopack_site.kernel.globs import covered
from runs.proofs import Proof

TEST_FAILURE = "test_failure"
FLAKY_TEST = "flaky_test"
GATE_CATEGORIES = frozenset({TEST_FAILURE, FLAKY_TEST})
"""What gates find: a gate runs the project's tests on the whole candidate, whatever its phase has touched."""

# Stand for any file name and any depth when a glob is asked for as if it were a path.
_ANY_NAME = "\x01\x01"
_ANY_DEPTH = "\x01/\x01"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the proved phases of a run vouch for together.

    `globs` are the scopes of those that have one, `files` what the patches of those without one have touched;
    `has_whole_gate` tells that there is one without, whose gate vouches for all that gates find.
    """

    globs: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    has_whole_gate: bool = False

    @classmethod
    def of(cls, proofs: Iterable[Proof]) -> Coverage:
        """Return what these phases cover together; with none of them, nothing."""
        listed = list(proofs)
        unscoped = [proof for proof in listed if not proof.scope]
        return cls(
            tuple(dict.fromkeys(glob for proof in listed for glob in proof.scope)),
            frozenset(path for proof in unscoped for path in proof.touched),
            bool(unscoped),
        )

    def holds(self, category: str, paths: Sequence[str], scopes: Sequence[Sequence[str]]) -> bool:
        """Tell whether an issue is covered: all its paths; where evidence names none, all the scopes that saw it.

        One that names no path and was seen by a phase without a scope lies nowhere: unless gates find such issues,
        no run can show that it is gone.
        """
        if self.has_whole_gate and category in GATE_CATEGORIES:
            return True
        if paths:
            return all(path in self.files or covered(path, self.globs) for path in paths)
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
