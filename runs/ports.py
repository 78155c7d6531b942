"""What the runs app needs from the apps above it, as Protocols, bound by settings.AUTOPACK_PORTS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, cast

from django.conf import settings
from django.utils.module_loading import import_string

from strategy.types import BacklogItem


@dataclass(frozen=True)
class IssueReport:
    """One problem as somebody saw it (API.md, record_issue)."""

    issue_key: str
    severity: str
    source: str
    category: str
    task_category: str | None = None
    complexity: str | None = None
    evidence_refs: tuple[str, ...] = ()
    description: str = ""
    expected_fail: bool = False


@dataclass(frozen=True)
class Base:
    """The commit a run starts from."""

    commit: str
    branch: str


@dataclass(frozen=True)
class Shared:
    """What a report changed: the three rows it touched, in API.md's shapes."""

    phase_file: dict[str, Any] = field(default_factory=dict)
    run_index_entry: dict[str, Any] = field(default_factory=dict)
    project_backlog_entry: dict[str, Any] = field(default_factory=dict)


class IssueLedger(Protocol):
    """The memory of problems."""

    def record(
        self, phase_pk: int, reports: Sequence[IssueReport], *, reporter: str, base: str = ""
    ) -> list[Shared]:
        """Record reports about a phase, inside the caller's transaction.

        `base` is the commit of the attempt that saw it; without one the phase's last attempt is meant.
        """

    def begin_run(self, run_id: str, project_pk: int) -> None:
        """Age the project's backlog for a new run, inside the caller's transaction. Once a run."""

    def backlog(self, project_pk: int) -> list[BacklogItem]:
        """Return the project's open backlog, ordered by key."""

    def begin_tier(self, run_id: str, tier_id: str) -> None:
        """Age the project's backlog for a tier that starts, inside the caller's transaction. Once a tier."""

    def end_cleanup(self, phase_pk: int) -> None:
        """Resolve what the completed cleanup phase names and nobody saw again, inside the caller's transaction.

        Nothing where its gate was waived (`runs.proofs`).
        """

    def end_run(self, run_id: str) -> None:
        """Resolve what the ended run's gates vouch for and nobody saw again (`runs.proofs`).

        A bounded part of it inside the caller's transaction, which records the rest as work for later.
        """


class Workspace(Protocol):
    """Git, as runs need it. All of it is I/O: never called inside a transaction."""

    def prepare(self, run_id: str) -> Base:
        """Fetch the project's repository into the mirror and return the base; raise typed errors."""

    def build_candidate(self, attempt_id: str) -> None:
        """Judge a submitted patch, build its candidate and record the outcome. Safe to repeat."""

    def merge(self, attempt_id: str) -> None:
        """Move the run's branch to a green candidate, if it may move now. Safe to repeat."""

    def contains(self, project_pk: int, commit: str, fix: str) -> bool | None:
        """Tell whether a commit has a fix in its history, as it was, rebased or squashed; None when unknown."""

    def branch_status(self, run_id: str) -> dict[str, Any]:
        """Return integration_status of API.md for the run's branch."""


class GateDispatcher(Protocol):
    """Gates, as runs need them."""

    def dispatch(self, attempt_id: str) -> None:
        """Record that the attempt's candidate must be gated, inside the caller's transaction."""

    def cancel(self, phase_pk: int) -> None:
        """Call off what is not decided yet for the phase, inside the caller's transaction."""

    def is_green(self, attempt_id: str) -> bool:
        """Tell whether evidence bound to patch, base, strategy and profile passed or was waived."""

    def summary(self, attempt_id: str) -> dict[str, Any]:
        """Return the last gate's outcome for briefs and audits: verdict, steps, failing tests, log tail."""


@cache
def _adapter(name: str) -> Any:
    return import_string(settings.AUTOPACK_PORTS[name])()


def ledger() -> IssueLedger:
    """Return the issue ledger."""
    return cast(IssueLedger, _adapter("ledger"))


def workspace() -> Workspace:
    """Return the workspace."""
    return cast(Workspace, _adapter("workspace"))


def gates() -> GateDispatcher:
    """Return the gate dispatcher."""
    return cast(GateDispatcher, _adapter("gates"))
