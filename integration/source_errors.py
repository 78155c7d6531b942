"""What git says about a project's repository means: no such branch, unsound objects, a refused push, out of reach."""

from __future__ import annotations

import re

from integration.git_errors import (
    GitFailed,
    GitTimedOut,
    PushRejected,
    SourceUnavailable,
    SourceUnsound,
    UnknownRevision,
)
from integration.sources import Source, redacted


def fetch_error(error: GitFailed, there: Source, branch: str) -> Exception:
    """Return what a failed fetch of a branch means."""
    text = error.stderr.lower()
    if "couldn't find remote ref" in text:
        return UnknownRevision(f"{there.shown} has no branch {branch}")
    if "fsck error" in text or "error in object" in text:
        return SourceUnsound(f"{there.shown}: {redacted(error.stderr)[-500:]}")
    return source_error(error, there)


def source_error(error: GitFailed, there: Source) -> Exception:
    """Return what a failed call on a remote means, where nothing more is known."""
    if isinstance(error, GitTimedOut):
        return error
    return SourceUnavailable(f"{there.shown}: {redacted(error.stderr)[-500:]}")


def push_error(error: GitFailed, there: Source) -> Exception:
    """Return what a failed push means: refused there, or the remote could not be reached."""
    text = error.stderr + str(error)
    if re.search(r"rejected|non-fast-forward|fetch first|already exists|cannot lock ref|refus", text):
        return PushRejected(f"{there.shown}: {redacted(error.stderr)[-500:]}")
    return SourceUnavailable(f"{there.shown}: {redacted(error.stderr)[-500:]}")
