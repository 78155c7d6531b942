"""The run board: one page of runs with all that tells whether somebody must look. A constant number of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, IntegerField, Q, Sum, Value, When

from autopack_site.kernel import clock
from integration.console import bars
from integration.console.bars import Bar
from runs.lifecycle import ACTIVE_RUN_STATES, TERMINAL_PHASE_STATES, PhaseState, RunState
from runs.models import Phase, Run, Tier
from runs.querysets import RunQuerySet

PER_PAGE = 50
FAILED_RUN_STATES = tuple(state for state in RunState if state.startswith("DONE_FAILED_"))
# The name of a group of states in the address, its title, and its states.
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("all", "All", tuple(RunState)),
    ("active", "Active", ACTIVE_RUN_STATES),
    ("failed", "Failed", FAILED_RUN_STATES),
    ("succeeded", "Succeeded", (RunState.DONE_SUCCESS,)),
    ("cancelled", "Cancelled", (RunState.DONE_CANCELLED,)),
)
_STATES = {name: states for name, _, states in GROUPS}
_FIELDS = (
    "run_id", "project__project_id", "state", "safety_profile", "token_cap", "tokens_used", "max_duration_minutes",
    "build_token_cap", "audit_token_cap", "audit_tokens_used", "cost_cap_micro_usd", "cost_micro_usd",
    "ci_runs_used", "minor_issues_count", "major_issues_count", "max_minor_issues_total", "failure_code",
    "created_at", "started_at", "completed_at", "deadline_at",
)  # fmt: skip
# The phase that a run is at: what the gate works on, else what waits for it, is built, or comes next.
_RANK = Case(
    *[
        When(state=state, then=Value(rank))
        for rank, state in enumerate(
            (PhaseState.CI_RUNNING, PhaseState.GATE, PhaseState.EXECUTING, PhaseState.QUEUED)
        )
    ],
    output_field=IntegerField(),
)


@dataclass(frozen=True)
class Filters:
    """What the board is limited to. `search` is a part of a run's id."""

    group: str = "all"
    project: str = ""
    search: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """Read them from an address; what isn't understood limits nothing."""
        group = query.get("state", "all")
        return cls(
            group=group if group in _STATES else "all",
            project=query.get("project", "").replace("\x00", "")[:128],
            search=query.get("q", "").replace("\x00", "").strip()[:128],
        )

    def narrowed(self) -> RunQuerySet:
        """Return the runs of the project that match the search, in any state."""
        runs: RunQuerySet = Run.objects.all()
        if self.project:
            runs = runs.filter(project__project_id=self.project)
        if self.search:
            runs = runs.filter(run_id__icontains=self.search)
        return runs


@dataclass(frozen=True)
class Row:
    """One run on the board. `phase` is (id, name, state) of the phase that it is at."""

    run: Run
    phase: tuple[str, str, str] | None
    phases: int
    phases_done: int
    tiers: int
    dirty_tiers: int
    bars: tuple[Bar, ...]

    @property
    def is_active(self) -> bool:
        """Tell whether the run goes on."""
        return not self.run.is_terminal


@dataclass(frozen=True)
class Board:
    """What one page of the board shows. `counts` are runs by group, under the other filters."""

    filters: Filters
    counts: tuple[tuple[str, str, int], ...]
    rows: tuple[Row, ...]
    page: Page[Any]
    at: datetime

    @property
    def summary(self) -> str:
        """Return what is read out when it changes."""
        counts = {name: count for name, _, count in self.counts}
        return f"{counts['active']} active, {counts['failed']} failed, {counts['succeeded']} succeeded runs"


class _Counted(Paginator):
    """A paginator that is told how many there are."""

    def __init__(self, rows: RunQuerySet, count: int) -> None:
        super().__init__(rows, PER_PAGE)
        self.count = count  # a cached property, filled beforehand


def load(filters: Filters, *, page: str | None) -> Board:
    """Read a page of the board: five queries, whatever there is."""
    by_state = dict(filters.narrowed().order_by().values_list("state").annotate(count=Count("pk")))
    counts = tuple(
        (name, title, sum(by_state.get(str(state), 0) for state in states)) for name, title, states in GROUPS
    )
    runs = filters.narrowed()
    if filters.group != "all":
        runs = runs.filter(state__in=_STATES[filters.group])
    runs = runs.select_related("project").only(*_FIELDS)
    found = _Counted(runs, next(count for name, _, count in counts if name == filters.group)).get_page(page)
    now = clock.now()
    return Board(filters, counts, _rows(list(found.object_list), now), found, now)


def _rows(runs: Sequence[Run], now: datetime) -> tuple[Row, ...]:
    ids = [run.pk for run in runs]
    at = {
        run_id: (phase_id, name, state)
        for run_id, phase_id, name, state in Phase.objects.filter(run__in=ids)
        .exclude(state__in=TERMINAL_PHASE_STATES)
        .order_by("run_id", _RANK, "tier__tier_index", "phase_index")
        .distinct("run_id")
        .values_list("run_id", "phase_id", "name", "state")
    }
    phases: dict[str, Any] = {
        row["run_id"]: row
        for row in Phase.objects.filter(run__in=ids)
        .order_by()
        .values("run_id")
        .annotate(count=Count("pk"), done=Count("pk", filter=Q(state__in=TERMINAL_PHASE_STATES)))
    }
    tiers: dict[str, Any] = {
        row["run_id"]: row
        for row in Tier.objects.filter(run__in=ids)
        .order_by()
        .values("run_id")
        .annotate(
            count=Count("pk"), dirty=Count("pk", filter=Q(cleanliness="not_clean")), gates=Sum("ci_run_cap")
        )
    }
    return tuple(
        Row(
            run=run,
            phase=None if run.is_terminal else at.get(run.pk),
            phases=phases.get(run.pk, {}).get("count", 0),
            phases_done=phases.get(run.pk, {}).get("done", 0),
            tiers=tiers.get(run.pk, {}).get("count", 0),
            dirty_tiers=tiers.get(run.pk, {}).get("dirty", 0),
            bars=budget_bars(run, tiers.get(run.pk, {}).get("gates") or 0, now),
        )
        for run in runs
    )


def budget_bars(run: Run, gate_cap: int, now: datetime) -> tuple[Bar, ...]:
    """Return what a run has used of its tokens, its money, its time (whole minutes) and its tiers' gate runs."""
    began, ended = run.started_at or run.created_at, run.completed_at or now
    minutes = max(0, int((ended - began).total_seconds() // 60))
    return (
        *bars.spending(run),
        Bar("Minutes", minutes, run.max_duration_minutes),
        Bar("Gates", run.ci_runs_used, gate_cap),
    )
