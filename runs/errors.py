"""What can be refused about runs. Each error knows its code and status; `detail` texts are API.md's."""

from __future__ import annotations

from typing import Any

from autopack_site.kernel.errors import AutopackError, Conflict, NotFound


class RunExists(AutopackError):
    """A run with this id is there already."""

    code, status = "run-exists", 400
    title = "The run already exists"


class RunNotFound(NotFound):
    """No such run, or not one the caller may see."""

    code = "run-not-found"
    title = "Run not found"


class InvalidRunState(AutopackError):
    """No state of a run has this name."""

    code, status = "invalid-run-state", 400
    title = "No such state of a run"


class PhaseNotFound(NotFound):
    """No such phase in this run."""

    code = "phase-not-found"
    title = "Phase not found"


class InvalidPhaseState(AutopackError):
    """No state of a phase has this name."""

    code, status = "invalid-phase-state", 400
    title = "Invalid phase state"


class LeaseNotFound(NotFound):
    """No such lease."""

    code = "lease-not-found"
    title = "Lease not found"


class AttemptNotFound(NotFound):
    """No such attempt at this phase."""

    code = "attempt-not-found"
    title = "Attempt not found"


class TokenNotFound(NotFound):
    """No such token, or not one of the caller's project."""

    code = "token-not-found"
    title = "Token not found"


class StaleLease(Conflict):
    """The lease ran out, was released, or a newer fence exists: whoever holds it must stop."""

    code = "stale-lease"
    title = "The lease no longer holds"


class LeaseHeld(Conflict):
    """Another agent works on this phase."""

    code = "lease-held"
    title = "Another agent holds the phase"


class PhaseNotReady(Conflict):
    """The phase can't be worked on now. `is_early`: its turn is still to come."""

    code = "phase-not-ready"
    title = "The phase is not ready"

    def __init__(self, detail: str | None = None, *, is_early: bool = False, **extras: Any) -> None:
        super().__init__(detail, **extras)
        self.is_early = is_early


class CategoryNotTaken(Conflict):
    """The project's configuration lets the agent take other categories only."""

    code = "category-not-taken"
    title = "The agent does not take this category"


class RunEnded(Conflict):
    """The run has ended."""

    code = "run-ended"
    title = "The run has ended"


class LostRace(Conflict):
    """Another worker moved the row first. Read again, never overwrite."""

    code, retryable = "lost-race", True
    title = "The row has moved meanwhile"


class EvidenceMissing(Conflict):
    """Completion follows from gate evidence only."""

    code = "evidence-missing"
    title = "No gate evidence supports this"


class MergePending(Conflict):
    """The phase's green candidate is landing: what comes of that is decided already."""

    code, retryable = "merge-pending", True
    title = "The phase's merge is under way"


class AttemptsUsed(Conflict):
    """The phase has no attempt left to be tried with."""

    code = "attempts-exhausted"
    title = "No attempt is left"


class PatchChanged(Conflict):
    """The verdict is about another patch than the one in force."""

    code = "patch-changed"
    title = "The audited patch is no longer the one in force"


class OwnPatch(Conflict):
    """The Auditor wrote the patch, and the phase requires the approval of another."""

    code = "own-patch"
    title = "Nobody approves a patch of their own"


class NoAudit(Conflict):
    """No audit is wanted for this phase. `is_early`: nothing is built yet that could be judged."""

    code = "no-audit"
    title = "No audit is open for this phase"

    def __init__(self, detail: str | None = None, *, is_early: bool = False, **extras: Any) -> None:
        super().__init__(detail, **extras)
        self.is_early = is_early


class TokenEnded(Conflict):
    """The token is revoked."""

    code = "token-ended"
    title = "The token is revoked"


class NoBuild(Conflict):
    """The lease is not one to build under."""

    code = "no-build"
    title = "This lease is not for a build"
