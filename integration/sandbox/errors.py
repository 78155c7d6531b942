"""What can be wrong with a request to run a command (not with the command itself: see `Outcome`)."""

from __future__ import annotations

from autopack_site.kernel.errors import AutopackError


class SandboxMisuse(AutopackError):
    """The caller asked for something that can't be run safely: a relative path, root without a uid, ..."""

    code, status = "sandbox-misuse", 500
    title = "The sandbox was asked for something unsafe"


class NoFreeUid(AutopackError):
    """Every uid of the range is held by another attempt or exists on this host."""

    code, status = "no-free-uid", 503
    title = "No unprivileged uid is free for this attempt"
    retryable = True


class TreeTooDeep(AutopackError):
    """A folder that a command left is nested deeper than any honest one."""

    code, status = "tree-too-deep", 422
    title = "The folder is nested too deeply"


class TreeNotRemoved(AutopackError):
    """A folder that a command left could not be deleted whole."""

    code, status = "tree-not-removed", 500
    title = "A folder left by a command could not be removed"
    retryable = True
