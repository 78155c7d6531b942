"""What the artefacts of one run or project are made of: its rows, read in a constant number of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from django.db import connection, transaction

from integration.artefacts.issue_rows import phase_files
from integration.models import GateRun
from issues.shapes import backlog_in_key_order, run_index
from runs.lifecycle import Cause, PhaseState
from runs.models import Attempt, Phase, Run, Tier, Transition
from strategy.models import Project

ATTEMPTS_A_PHASE = 10
PATCHES_A_RUN = 10
_HEAVY = ("patch", "report", "brief_notes")


@dataclass(frozen=True)
class RunRows:
    """The rows behind one run's folder, in order. Rendering reads nothing else.

    `issue_files` maps a phase's primary key to its issues in API.md's shape, `issue_index` is the run's.
    `timeline`, `last_attempts` and `patches` (attempt id -> patch) are there for a failed run only.
    """

    run: Run
    project_id: str
    strategy_text: str
    strategy_sha256: str
    tiers: tuple[Tier, ...]
    phases: tuple[Phase, ...]
    attempts: tuple[Attempt, ...]
    gates: tuple[GateRun, ...]
    issue_files: dict[int, dict[str, Any]]
    issue_index: dict[str, Any]
    timeline: tuple[Transition, ...] = ()
    last_attempts: tuple[Attempt, ...] = ()
    patches: dict[str, bytes] = field(default_factory=dict)

    @property
    def has_failed(self) -> bool:
        """Tell whether the run ended in a failed state, so that an incident pack belongs to it."""
        return self.run.state.startswith("DONE_FAILED_")

    @property
    def first_failure(self) -> Phase | None:
        """Return the phase whose failure came first, as the run's end was decided by it."""
        failed = [phase for phase in self.phases if phase.state == PhaseState.FAILED]
        own = [phase for phase in failed if phase.failure_cause != Cause.CANCELLED] or failed
        return min(own, key=lambda phase: (_ended(phase), phase.phase_index, phase.phase_id), default=None)

    @property
    def last_gate(self) -> GateRun | None:
        """Return the gate run that began last: of the phase that failed first, else of the whole run."""
        first = self.first_failure
        own = [gate for gate in self.gates if first is not None and gate.phase_id == first.pk]
        return next((gate for gate in reversed(own or self.gates) if gate.started_at), None)

    def phases_of(self, tier: Tier) -> tuple[Phase, ...]:
        """Return the tier's phases in index order."""
        return tuple(phase for phase in self.phases if phase.tier_id == tier.pk)


@dataclass(frozen=True)
class ProjectRows:
    """What a project's two files are made of. `ruleset` None: the project has the published defaults.

    `backlog` reads the entries, a page after the other, whenever it is called: a memory of years is large.
    """

    project_id: str
    is_default: bool
    backlog: Callable[[], Iterator[dict[str, Any]]]
    ruleset: dict[str, Any] | None


def _ended(phase: Phase) -> float:
    return phase.completed_at.timestamp() if phase.completed_at else float("inf")


@contextmanager
def snapshot() -> Iterator[None]:
    """Let every query inside see one state of the database (REPEATABLE READ, read only).

    Inside a caller's transaction that one's isolation holds instead.
    """
    nested = connection.in_atomic_block
    with transaction.atomic():
        if not nested:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def load_run(run_id: str) -> RunRows | None:
    """Read everything a run's folder is made of, or None where there is no such run. Use in a snapshot."""
    run = Run.objects.select_related("project", "strategy").filter(pk=run_id).first()
    if run is None:
        return None
    tiers = tuple(Tier.objects.filter(run=run).order_by("tier_index", "tier_id"))
    phases = tuple(Phase.objects.filter(run=run).select_related("tier").order_by("phase_index", "phase_id"))
    attempts = tuple(Attempt.objects.filter(run=run).defer(*_HEAVY).order_by("created_at", "id"))
    gates = tuple(GateRun.objects.filter(run=run).order_by("created_at", "id"))
    rows = RunRows(
        run=run,
        project_id=run.project.project_id,
        strategy_text=run.strategy.canonical,
        strategy_sha256=run.strategy.sha256,
        tiers=tiers,
        phases=phases,
        attempts=attempts,
        gates=gates,
        issue_files=phase_files(run_id, phases),
        issue_index=run_index(run),
    )
    return _with_incident(rows) if rows.has_failed else rows


def load_project(project_id: str) -> ProjectRows | None:
    """Read what a project's files are made of, or None where there is no such project. Use in a snapshot."""
    project = Project.objects.select_related("ruleset").filter(project_id=project_id).first()
    if project is None:
        return None
    return ProjectRows(
        project_id=project_id,
        is_default=project.is_default,
        backlog=partial(backlog_in_key_order, project),
        ruleset=project.ruleset.document if project.ruleset else None,
    )


def _with_incident(rows: RunRows) -> RunRows:
    failed = {phase.pk for phase in rows.phases if phase.state == PhaseState.FAILED}
    last: list[Attempt] = []
    for phase_pk in sorted(failed):
        last += [attempt for attempt in rows.attempts if attempt.phase_id == phase_pk][-ATTEMPTS_A_PHASE:]
    last.sort(key=lambda attempt: (attempt.created_at, attempt.pk))
    wanted = [attempt.pk for attempt in last if attempt.patch_hash and attempt.kind != "audit"]
    stored = Attempt.objects.filter(pk__in=wanted[-PATCHES_A_RUN:]).values_list("pk", "patch")
    patches = {pk: bytes(patch) for pk, patch in stored if bytes(patch).strip()}
    timeline = tuple(Transition.objects.filter(run=rows.run).order_by("id"))
    return replace(rows, timeline=timeline, last_attempts=tuple(last), patches=patches)
