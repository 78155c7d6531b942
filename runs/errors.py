"""What can be refused about runs. Each error knows its code and status; `detail` texts are API.md's."""

from __future__ import annotations

from autopack_site.kernel.errors import AutopackError, Conflict, NotFound


class RunExists(AutopackError):
    """A run with this id is there already."""

    code, status = "run-exists", 400
    title = "The run already exists"


class RunNotFound(NotFound):
    """No such run, or not one the caller may see."""

    code = "run-not-found"
    title = "Run not found"


class PhaseNotFound(NotFound):
    """No such phase in this run."""

    code = "phase-not-found"
    title = "Phase not found"


class LeaseNotFound(NotFound):
    """No such lease."""

    code = "lease-not-found"
    title = "Lease not found"


class StaleLease(Conflict):
    """The lease ran out, was released, or a newer fence exists: whoever holds it must stop."""

    code = "stale-lease"
    title = "The lease no longer holds"


class LeaseHeld(Conflict):
    """Another agent works on this phase."""

    code = "lease-held"
    title = "Another agent holds the phase"


class PhaseNotReady(Conflict):
    """The phase can't be worked on now."""

    code = "phase-not-ready"
    title = "The phase is not ready"


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


class PatchChanged(Conflict):
    """The verdict is about another patch than the one in force."""

    code = "patch-changed"
    title = "The audited patch is no longer the one in force"


class NoAudit(Conflict):
    """No audit is wanted for this phase."""

    code = "no-audit"
    title = "No audit is open for this phase"


class TokenEnded(Conflict):
    """The token is revoked."""

    code = "token-ended"
    title = "The token is revoked"


class NoBuild(Conflict):
    """The lease is not one to build under."""

    code = "no-build"
    title = "This lease is not for a build"
