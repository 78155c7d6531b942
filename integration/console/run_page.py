"""What the page of a run shows, read in a constant number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Value, When

from autopack_site.kernel import clock
from integration.artefacts.advice import NEXT_STEPS
from integration.console import bars, run_charts, timeline
from integration.console.bars import Bar
from integration.console.board import budget_bars
from integration.console.charts import Chart
from integration.console.timeline import Timeline
from integration.models import GateRun
from issues.models import BacklogEntry, RunIndexEntry
from runs.errors import RunNotFound
from runs.models import Attempt, Phase, Run, Tier, Transition
from runs.promotion import is_eligible, remarks

EVENTS_SHOWN = 40
ISSUES_SHOWN = 30
_HEAVY_PHASE = ("description", "notes", "limits", "scope", "audit_request")
_HEAVY_ATTEMPT = ("patch", "brief_notes", "notes", "report", "usage", "failure_reason")


@dataclass(frozen=True)
class AttemptLine:
    """One attempt and its last gate run, if it had any."""

    attempt: Attempt
    gate: GateRun | None


@dataclass(frozen=True)
class PhaseBlock:
    """One phase with its attempts, oldest first."""

    phase: Phase
    attempts: tuple[AttemptLine, ...]


@dataclass(frozen=True)
class TierBlock:
    """One tier with its budgets and phases."""

    tier: Tier
    bars: tuple[Bar, ...]
    phases: tuple[PhaseBlock, ...]


@dataclass(frozen=True)
class IssueLine:
    """One issue of the run. `entry_pk` is its entry in the project's backlog, where it has one under its key."""

    row: RunIndexEntry
    entry_pk: int | None


@dataclass(frozen=True)
class RunPage:
    """A run as its page shows it now."""

    run: Run
    bars: tuple[Bar, ...]
    tiers: tuple[TierBlock, ...]
    timeline: Timeline
    charts: tuple[Chart, ...]
    is_eligible: bool
    reasons: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    issues: tuple[IssueLine, ...]
    has_more_issues: bool
    events: tuple[Transition, ...]
    at: datetime

    @property
    def next_steps(self) -> tuple[str, ...]:
        """Return what to do after a failure, in the words of the incident pack; files are those of its folder."""
        steps = NEXT_STEPS.get(self.run.state, ())
        return tuple(step.replace("`{patch}`", "the patch that it names").replace("`", "") for step in steps)

    @property
    def summary(self) -> str:
        """Return what is read out when it changes."""
        phases = [block.phase for tier in self.tiers for block in tier.phases]
        done = sum(phase.is_terminal for phase in phases)
        state = self.run.state.replace("_", " ").lower()
        return f"Run {state}, {done} of {len(phases)} phases ended"


def find(run_id: str) -> Run:
    """Return the run with its project; raise RunNotFound."""
    run = (
        Run.objects.select_related("project", "previous", "next_run")
        .defer("config")
        .filter(pk=run_id)
        .first()
    )
    if run is None:
        raise RunNotFound(f"Run {run_id} not found")
    return run


def load(run_id: str) -> RunPage:
    """Read the page: twelve queries, whatever the size of the run. Raises RunNotFound."""
    run, now = find(run_id), clock.now()
    tiers = list(Tier.objects.filter(run=run).defer("description").order_by("tier_index", "tier_id"))
    phases = list(Phase.objects.filter(run=run).defer(*_HEAVY_PHASE).order_by("phase_index", "phase_id"))
    eligible, reasons = is_eligible(run, tiers)
    issues = list(_issues(run)[: ISSUES_SHOWN + 1])
    return RunPage(
        run=run,
        bars=budget_bars(run, sum(tier.ci_run_cap for tier in tiers), now),
        tiers=_blocks(run, tiers, phases),
        timeline=timeline.of(run, _in_plan_order(tiers, phases), now),
        charts=run_charts.of_run(run, now),
        is_eligible=eligible,
        reasons=tuple(_parted(reason) for reason in reasons),
        remarks=tuple(remark.detail for remark in remarks(run)),
        issues=_lines(run, issues[:ISSUES_SHOWN]),
        has_more_issues=len(issues) > ISSUES_SHOWN,
        events=tuple(events_of(run)[:EVENTS_SHOWN]),
        at=now,
    )


def events_of(run: Run, *, before: int | None = None) -> Sequence[Transition]:
    """Return the run's events, newest first; with `before` those older than that one. Slice before reading."""
    rows = Transition.objects.filter(run=run).defer("data").order_by("-id")
    return rows if before is None else rows.filter(pk__lt=before)  # type: ignore[return-value]


def _issues(run: Run) -> Sequence[RunIndexEntry]:
    rank = Case(When(effective_severity="major", then=Value(0)), default=Value(1))
    rows = RunIndexEntry.objects.filter(run=run).defer("seen_in_tiers", "seen_in_phases")
    return rows.order_by(rank, "expected_fail", "-occurrence_count", "issue_key")  # type: ignore[return-value]


def _lines(run: Run, issues: Sequence[RunIndexEntry]) -> tuple[IssueLine, ...]:
    keys = [issue.issue_key for issue in issues]
    entries = dict(
        BacklogEntry.without_ages.filter(project=run.project_id, issue_key__in=keys).values_list(
            "issue_key", "pk"
        )
    )
    return tuple(IssueLine(issue, entries.get(issue.issue_key)) for issue in issues)


def _blocks(run: Run, tiers: Sequence[Tier], phases: Sequence[Phase]) -> tuple[TierBlock, ...]:
    gates = {
        gate.attempt_id: gate
        for gate in GateRun.objects.filter(run=run).defer("evidence", "reason").order_by("number")
    }
    attempts: defaultdict[int, list[AttemptLine]] = defaultdict(list)
    for attempt in Attempt.objects.filter(run=run).defer(*_HEAVY_ATTEMPT).order_by("created_at", "id"):
        attempts[attempt.phase_id].append(AttemptLine(attempt, gates.get(attempt.pk)))
    return tuple(
        TierBlock(
            tier,
            (
                *bars.spending(tier),
                Bar("Gates", tier.ci_runs_used, tier.ci_run_cap),
                Bar("Minor", tier.minor_issues_count, tier.max_minor_issues),
                Bar("Major", tier.major_issues_count, tier.max_major_issues),
            ),
            tuple(
                PhaseBlock(phase, tuple(attempts[phase.pk])) for phase in phases if phase.tier_id == tier.pk
            ),
        )
        for tier in tiers
    )


def _in_plan_order(tiers: Sequence[Tier], phases: Sequence[Phase]) -> list[Phase]:
    place = {tier.pk: number for number, tier in enumerate(tiers)}
    return sorted(phases, key=lambda phase: (place[phase.tier_id], phase.phase_index, phase.phase_id))


def _parted(reason: str) -> tuple[str, str]:
    code, _, figures = reason.partition(": ")
    return code, figures
