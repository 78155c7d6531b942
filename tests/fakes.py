"""Stand-ins for the ports of `runs`, bound through settings.AUTOPACK_PORTS. Everything else is real in tests.

They act as the real adapters do towards `runs`: outcomes are recorded through its services.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

from runs import services
from runs.models import Attempt
from runs.ports import Base, IssueReport, Shared
from strategy.types import BacklogItem

PORTS = {
    "ledger": "tests.fakes.FakeLedger",
    "workspace": "tests.fakes.FakeWorkspace",
    "gates": "tests.fakes.FakeGates",
    "artefacts": "tests.fakes.FakeArtefacts",
}
BASE_COMMIT = "ba5e" * 10
DEADLINE_S = 20.0


class FakeLedger:
    """Keeps reports in memory; `items` is the backlog that a strategy is compiled with."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, IssueReport, str]] = []
        self.bases: list[str] = []
        self.items: list[BacklogItem] = []
        self.began: list[tuple[str, ...]] = []
        self.cleaned_up: list[int] = []
        self.ended: list[str] = []

    def record(
        self, phase_pk: int, reports: Sequence[IssueReport], *, reporter: str, base: str = ""
    ) -> list[Shared]:
        """Keep the reports, and the commits that saw them."""
        self.bases += [base for _ in reports]
        self.reports += [(phase_pk, report, reporter) for report in reports]
        return [Shared() for _ in reports]

    def begin_run(self, run_id: str, project_pk: int) -> None:
        """Note the run."""
        self.began.append((run_id,))

    def begin_tier(self, run_id: str, tier_id: str) -> None:
        """Note the tier."""
        self.began.append((run_id, tier_id))

    def backlog(self, project_pk: int) -> list[BacklogItem]:
        """Return the items."""
        return list(self.items)

    def end_cleanup(self, phase_pk: int) -> None:
        """Note the phase."""
        self.cleaned_up.append(phase_pk)

    def end_run(self, run_id: str) -> None:
        """Note the end."""
        self.ended.append(run_id)


class FakeWorkspace:
    """Builds candidates whose commit is the SHA-1 of the patch.

    `refuse(code, reason)` makes it refuse patches; `gate` (an Event) holds a build until it is set; `error`
    is raised in place of a build; `branches` answers branch_status.
    """

    def __init__(self) -> None:
        self.refusal: tuple[str, str, bool] | None = None
        self.gate: threading.Event | None = None
        self.error: Exception | None = None
        self.built: list[str] = []
        self.fixes: dict[str, bool | None] = {}  # by commit: whether it has the fix
        self.merged: list[str] = []
        self.finished = threading.Semaphore(0)
        self.branches: dict[str, dict[str, Any]] = {}

    def refuse(self, code: str, reason: str, *, is_policy: bool = False) -> None:
        """Refuse every patch from now on."""
        self.refusal = (code, reason, is_policy)

    def prepare(self, run_id: str) -> Base:
        """Return the base."""
        return Base(BASE_COMMIT, "main")

    def build_candidate(self, attempt_id: str) -> None:
        """Record a refusal or a candidate through the services."""
        try:
            if self.gate is not None and not self.gate.wait(DEADLINE_S):
                raise TimeoutError("nobody let the build go on")
            if self.error is not None:
                raise self.error
            self.built.append(attempt_id)
            if self.refusal is not None:
                code, reason, is_policy = self.refusal
                services.record_refusal(attempt_id, code=code, reason=reason, is_policy=is_policy)
                return
            attempt = Attempt.objects.get(pk=attempt_id)
            sha = hashlib.sha1(bytes(attempt.patch)).hexdigest()
            lines = sum(line[:1] in b"+-" for line in bytes(attempt.patch).splitlines() if line)
            services.record_candidate(attempt_id, base=attempt.base_commit, sha=sha, diff_lines=lines)
        finally:
            self.finished.release()

    def merge(self, attempt_id: str) -> None:
        """Note the attempt; where nobody holds the port's fakes to git, the branch stays where it is."""
        self.merged.append(attempt_id)

    def contains(self, project_pk: int, commit: str, fix: str) -> bool | None:
        """Answer from `fixes`; None for other commits."""
        return self.fixes.get(commit)

    def branch_status(self, run_id: str) -> dict[str, Any]:
        """Return what was put into `branches`, else that the branch is absent."""
        branch = f"autonomous/{run_id}"
        absent = {"branch": branch, "exists": False, "message": "The branch does not exist yet"}
        return self.branches.get(run_id, absent)


class FakeGates:
    """Notes what is to be gated; `finish` gives a verdict as a gate's task does."""

    def __init__(self) -> None:
        self.dispatched: list[str] = []
        self.cancelled: list[int] = []
        self.green: set[str] = set()

    def dispatch(self, attempt_id: str) -> None:
        """Note the attempt."""
        self.dispatched.append(attempt_id)

    def cancel(self, phase_pk: int) -> None:
        """Note the phase."""
        self.cancelled.append(phase_pk)

    def is_green(self, attempt_id: str) -> bool:
        """Tell what `finish` said."""
        return attempt_id in self.green

    def summary(self, attempt_id: str) -> dict[str, Any]:
        """Return a gate's outcome."""
        return {"verdict": "green"} if attempt_id in self.green else {}

    def finish(self, attempt_id: str, verdict: str = "green") -> None:
        """Start the gate and report its verdict."""
        services.gate_started(attempt_id)
        if verdict in ("green", "flaky", "waived"):
            self.green.add(attempt_id)
        services.gate_finished(attempt_id, verdict=verdict, reason=f"the gate is {verdict}")


class FakeArtefacts:
    """Writes nothing."""
