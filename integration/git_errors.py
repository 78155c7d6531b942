"""What can go wrong between Autopack and git, as types (the judge's refusals are in `patch_errors`)."""

from __future__ import annotations

from autopack_site.kernel.errors import AutopackError, Conflict, NotFound, PolicyViolation


class GitFailed(AutopackError):
    """A git process ended with a status that the caller did not expect. `stderr` is its last words."""

    code, status = "git-failed", 500
    title = "A git operation failed"

    def __init__(
        self, detail: str | None = None, *, stderr: str = "", exit_status: int | None = None
    ) -> None:
        super().__init__(detail)
        self.stderr = stderr
        self.exit_status = exit_status


class GitTimedOut(GitFailed):
    """A git process ran past its time; its whole process group was killed."""

    code, status = "git-timeout", 503
    title = "A git operation took too long"
    retryable = True


class GitOutputTooLarge(GitFailed):
    """A git process wrote more than the caller allowed; it was killed."""

    code = "git-output-too-large"
    title = "A git operation answered more than is allowed"


class GitMissing(GitFailed):
    """There is no usable git program on the PATH."""

    code, status = "git-missing", 503
    title = "The git program was not found"


class UnknownRevision(NotFound):
    """No commit of the mirror answers to this name."""

    code = "unknown-revision"
    title = "Unknown revision"


class ProtectedBranch(PolicyViolation):
    """Only Autopack's own refs are ever written (SPEC section 1)."""

    code = "protected-branch"
    title = "Protected branches are never written"


class RefMoved(Conflict):
    """The ref wasn't at the value expected: another writer won. `current` is its value now, or None."""

    code = "ref-moved"
    title = "The ref has moved"
    retryable = True

    def __init__(self, ref: str, *, expected: str | None, current: str | None) -> None:
        super().__init__(
            f"{ref} is at {current or 'nothing'}, expected {expected or 'nothing'}", ref=ref, current=current
        )
        self.ref = ref
        self.expected = expected
        self.current = current


class BranchTaken(Conflict):
    """The run's branch is there already, with work that is not this run's."""

    code = "branch-taken"
    title = "The run's branch exists already"


class SourceRefused(PolicyViolation):
    """The address of a project's repository is of a kind that Autopack doesn't speak to."""

    code, status = "source-refused", 422
    title = "This repository address is not accepted"


class SourceUnavailable(AutopackError):
    """The project's repository can't be reached or read now."""

    code, status = "source-unavailable", 503
    title = "The project's repository can't be reached"
    retryable = True


class SourceUnsound(AutopackError):
    """The project's repository sent objects that fail git's own checks; nothing was taken over."""

    code, status = "source-unsound", 422
    title = "The project's repository holds unsound objects"


class PushRejected(Conflict):
    """The project's repository did not take the refs; none of them was changed there."""

    code = "push-rejected"
    title = "The project's repository refused the push"
