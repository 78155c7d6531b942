"""The judge's refusals: one class and one stable code for each reason (SPEC section 8, SAFETY, Git).

`is_policy` tells a forbidden patch from one that is merely broken: the first kind in every attempt ends a run
as a policy violation. All answer 422 (API.md: a patch that can't be applied). None is retryable unchanged but
those that wait for another base.
"""

from __future__ import annotations

from typing import Any, ClassVar

from autopack_site.kernel.errors import AutopackError


class PatchRefused(AutopackError):
    """The root of every refusal. `path` and `line` (1-based, of the patch) say where, when known."""

    code, status = "patch-refused", 422
    title = "The patch is refused"
    is_policy: ClassVar[bool] = True

    def __init__(
        self, detail: str | None = None, *, path: str | None = None, line: int | None = None, **extras: Any
    ) -> None:
        if path is not None:
            extras["path"] = printable(path)
        if line is not None:
            extras["line"] = line
        super().__init__(detail, **extras)
        self.path = path
        self.line = line


class PatchInvalid(PatchRefused):
    """The bytes are not a git-format diff that can be understood whole."""

    code = "invalid-patch"
    title = "The patch is not a valid git-format diff"
    is_policy = False


class PatchEmpty(PatchRefused):
    """Nothing would change."""

    code = "empty-patch"
    title = "The patch changes nothing"
    is_policy = False


class PatchDoesNotApply(PatchRefused):
    """Git can't apply it to this base."""

    code = "does-not-apply"
    title = "The patch does not apply to its base"
    is_policy = False


class BaseMoved(PatchRefused):
    """It applied to the base that it was made for, and does not to the branch as it is now."""

    code = "base-moved"
    title = "The base of the patch has moved"
    is_policy = False
    retryable = True


class PatchTooLarge(PatchRefused):
    """More bytes, files, hunks or longer lines than the rules allow."""

    code = "patch-too-large"
    title = "The patch is too large"


class PathOutsideRepository(PatchRefused):
    """A name that leaves the repository: absolute, with `..`, or with empty components."""

    code = "path-outside-repository"
    title = "A path leaves the repository"


class PathOutOfScope(PatchRefused):
    """A file that the phase may not touch, by its old or its new name."""

    code = "path-out-of-scope"
    title = "A path is outside the phase's scope"


class GitDirectory(PatchRefused):
    """A name that is, or on some file system reads as, git's own directory."""

    code = "git-directory"
    title = "A path points into a git directory"


class HooksPath(PatchRefused):
    """A file that git, or a tool for git hooks, would run by itself."""

    code = "hooks-path"
    title = "Hooks may not be changed"


class SubmoduleChange(PatchRefused):
    """A gitlink (mode 160000) or `.gitmodules`."""

    code = "submodule-change"
    title = "Submodules may not be changed"


class SymlinkChange(PatchRefused):
    """A symbolic link is added, changed or removed."""

    code = "symlink-change"
    title = "Symbolic links may not be changed"


class FileMode(PatchRefused):
    """A mode other than those of plain files."""

    code = "file-mode"
    title = "This file mode is not allowed"


class ProtectedPath(PatchRefused):
    """A file that governs the gate or Autopack itself: CI configuration, rulesets, `autopack.yaml`."""

    code = "protected-path"
    title = "A protected path may not be changed"


class GitattributesChange(PatchRefused):
    """`.gitattributes` switches on filters and drivers that a server or user has configured."""

    code = "gitattributes-change"
    title = "Git attributes may not be changed"


class BinaryChange(PatchRefused):
    """A change of a binary file."""

    code = "binary-change"
    title = "Binary files may not be changed"


class ConflictMarkers(PatchRefused):
    """An added line is the marker of an unresolved merge."""

    code = "conflict-markers"
    title = "The patch adds conflict markers"


class SecretFound(PatchRefused):
    """An added line looks like a credential. The error names its kind and place, never its text."""

    code = "secret-found"
    title = "The patch adds what looks like a secret"


class CaseCollision(PatchRefused):
    """Two names of the result are one on a file system that folds case or normalises Unicode."""

    code = "case-collision"
    title = "Two paths differ only by case or Unicode form"


class SuspiciousName(PatchRefused):
    """A name that tools or other systems misread: options, devices, control characters, backslashes."""

    code = "suspicious-name"
    title = "A file name is not safe"


class UnsupportedFile(PatchRefused):
    """A checkout holds what no patch can carry: a device in a file's place, or another user's file."""

    code = "unsupported-file"
    title = "A file of the checkout can't be taken"


def printable(text: str) -> str:
    """Return text with everything escaped that could confuse a terminal, a log or JSON."""
    return text.encode("unicode_escape", "backslashreplace").decode("ascii")[:300]
