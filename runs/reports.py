"""The figures of the reports over runs (API.md), in the contract's shapes and a constant number of queries.

A utilization is used / cap, 1.0 at the cap: more is shown as more (usage that is reported late is booked over
any cap), and a cap of 0 gives 0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Avg, Case, Count, F, FloatField, Q, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, Concat

from autopack_site.kernel.clock import stamp
from runs import spend_figures
from runs.lifecycle import Cause, PhaseState
from runs.models import Attempt, Phase, Run, Tier
from runs.querysets import RunQuerySet

Shape = dict[str, Any]
MAX_SLICES = 100  # plans name tiers and categories: the largest slices are shown
ROW_FIELDS = (
    "run_id", "state", "safety_profile", "tokens_used", "token_cap", "minor_issues_count",
    "major_issues_count", "max_minor_issues_total", "max_phases", "created_at", "started_at", "completed_at",
)  # fmt: skip


def token_utilization(used: int, cap: int | None) -> float:
    """Return used / cap; 0.0 where the cap is 0, or there is none."""
    return used / cap if cap else 0.0


def rows_of(runs: RunQuerySet) -> Any:
    """Return what a report's row shows of each run, as named tuples: models of a thousand rows cost as much again."""
    return runs.with_sizes().values_list(*ROW_FIELDS, "phase_count", "tier_count", named=True)


def run_row(run: Any) -> Shape:
    """Return one row of /metrics/runs; the run is of `rows_of`."""
    return {
        "run_id": run.run_id,
        "state": run.state,
        "safety_profile": run.safety_profile,
        "tokens_used": run.tokens_used,
        "token_cap": run.token_cap,
        "token_utilization": token_utilization(run.tokens_used, run.token_cap),
        "minor_issues_count": run.minor_issues_count,
        "major_issues_count": run.major_issues_count,
        "max_minor_issues_total": run.max_minor_issues_total,
        "phase_count": run.phase_count,
        "tier_count": run.tier_count,
        "started_at": stamp(run.started_at),
        "completed_at": stamp(run.completed_at),
    }


def failure_row(run: Any) -> Shape:
    """Return one row of the budget analysis; the run is of `rows_of`."""
    return {
        "run_id": run.run_id,
        "state": run.state,
        "tokens_used": run.tokens_used,
        "token_cap": run.token_cap,
        "token_utilization": token_utilization(run.tokens_used, run.token_cap),
        "phase_count": run.phase_count,
        "max_phases": run.max_phases,
        "minor_issues_count": run.minor_issues_count,
        "max_minor_issues_total": run.max_minor_issues_total,
        "started_at": stamp(run.started_at),
        "completed_at": stamp(run.completed_at),
    }


def tier_figures(run_id: str) -> Shape:
    """Return /metrics/tiers of a run: its tiers in index order, with their phases by state. Two queries."""
    tiers = list(Tier.objects.filter(run=run_id).defer("description"))
    states: dict[int, dict[str, int]] = {tier.pk: {} for tier in tiers}
    counted = Phase.objects.filter(run=run_id).order_by("tier", "state").values_list("tier", "state")
    for tier_pk, state, phases in counted.annotate(phases=Count("pk")):
        states[tier_pk][state] = phases
    return {
        "run_id": run_id,
        "tier_count": len(tiers),
        "tiers": [
            {
                "tier_id": tier.tier_id,
                "tier_index": tier.tier_index,
                "name": tier.name,
                "state": tier.state,
                "cleanliness": tier.cleanliness,
                "minor_issues_count": tier.minor_issues_count,
                "major_issues_count": tier.major_issues_count,
                "phase_count": sum(states[tier.pk].values()),
                "phase_states": states[tier.pk],
                "tokens_used": tier.tokens_used,
            }
            for tier in tiers
        ],
    }


def budget_figures(runs: RunQuerySet, *, since: datetime | None, until: datetime | None) -> Shape:
    """Return the budget analysis of the runs that ended in the window, but for its rows. Twelve queries.

    `by_limit` counts runs by the limit that ended them; `by_tier` and `by_category_complexity` count the
    phases of these runs that failed by a budget, with their tokens. `audits_helped` is about all runs of the
    window: phases that an Auditor looked at after a failure, and how many of them completed; and patches that an
    Auditor refused though no gate had. So are `by_envelope`, `by_agent`, `by_model` and `cost_per_accepted_phase`
    (`spend_figures`).
    """
    ended = runs.ended_within(since, until)
    failed = ended.out_of_budget()
    share = Case(
        When(token_cap__gt=0, then=Cast("tokens_used", FloatField()) / Cast("token_cap", FloatField())),
        default=Value(0.0),
    )
    totals = failed.aggregate(runs=Count("pk"), mean=Coalesce(Avg(share), 0.0))
    limits = failed.order_by().values_list("failure_code").annotate(runs=Count("pk"))
    phases = Phase.objects.filter(run__in=failed.order_by().values("pk"), failure_cause=Cause.BUDGET)
    kind = Concat(F("task_category"), Value(":"), F("complexity"))
    return {
        "total_budget_failures": totals["runs"],
        "average_token_utilization": totals["mean"],
        "by_limit": dict(limits.order_by("-runs", "failure_code")[:MAX_SLICES]),
        "by_tier": _slices(phases.values(slice=F("tier__tier_id"))),
        "by_category_complexity": _slices(phases.values(slice=kind)),
        "overrun": spend_figures.overrun(ended),
        "by_envelope": spend_figures.by_envelope(ended),
        "by_agent": spend_figures.by_agent(ended, MAX_SLICES),
        "by_model": spend_figures.by_model(ended, MAX_SLICES),
        "cost_per_accepted_phase": spend_figures.accepted(ended),
        "audits_helped": _audits(ended),
    }


def _slices(phases: Any) -> dict[str, Shape]:
    """Count phases that come as values of `slice`."""
    counted = phases.order_by().annotate(failures=Count("pk"), tokens=Sum("tokens_used"))
    return {
        row["slice"]: {"failures": row["failures"], "tokens_used": row["tokens"]}
        for row in counted.order_by("-failures", "-tokens", "slice")[:MAX_SLICES]
    }


def _audits(ended: RunQuerySet) -> Shape:
    audits = Attempt.objects.decided_audits().filter(
        purpose=Attempt.Purpose.FAILURE, run__in=ended.order_by().values("pk")
    )
    completed = Q(phase__state=PhaseState.COMPLETE)
    found = audits.order_by().aggregate(
        audits=Count("pk"),
        phases=Count("phase", distinct=True),
        completed=Count("phase", distinct=True, filter=completed),
        tokens_used=Coalesce(Sum("tokens_used"), 0),
    )
    phases = found["phases"]
    return {
        "audits": found["audits"],
        "phases": phases,
        "completed": found["completed"],
        "share": found["completed"] / phases if phases else 0.0,
        "objections": spend_figures.objections(ended),
        "tokens_used": int(found["tokens_used"]),
    }


def run_figures(run: Run, tiers: Sequence[Tier], phases: Sequence[Phase], *, distinct_issues: int) -> Shape:
    """Return /reports/run_summary of a run from its rows, which come in index order. Pure.

    `distinct_issues` counts the keys of the run's index, those too that were expected and count nowhere.
    """
    counts: dict[int, int] = {}
    for phase in phases:
        counts[phase.tier_id] = counts.get(phase.tier_id, 0) + 1
    return {
        "run_id": run.run_id,
        "state": run.state,
        "safety_profile": run.safety_profile,
        "run_scope": run.run_scope,
        "budgets": {
            "tokens_used": run.tokens_used,
            "token_cap": run.token_cap,
            "token_utilization": token_utilization(run.tokens_used, run.token_cap),
            "phase_count": len(phases),
            "max_phases": run.max_phases,
        },
        "issues": {
            "minor_count": run.minor_issues_count,
            "major_count": run.major_issues_count,
            "max_minor_total": run.max_minor_issues_total,
            "distinct_issues": distinct_issues,
        },
        "tiers": [
            {
                "tier_id": tier.tier_id,
                "name": tier.name,
                "state": tier.state,
                "phase_count": counts.get(tier.pk, 0),
                "minor_issues": tier.minor_issues_count,
                "major_issues": tier.major_issues_count,
                "tokens_used": tier.tokens_used,
            }
            for tier in tiers
        ],
        "phases": [
            {
                "phase_id": phase.phase_id,
                "phase_index": phase.phase_index,
                "name": phase.name,
                "state": phase.state,
                "task_category": phase.task_category,
                "complexity": phase.complexity,
                "builder_attempts": phase.builder_attempts,
                "auditor_attempts": phase.auditor_attempts,
                "tokens_used": phase.tokens_used,
                "minor_issues": phase.minor_issues_count,
                "major_issues": phase.major_issues_count,
            }
            for phase in phases
        ],
        "started_at": stamp(run.started_at),
        "completed_at": stamp(run.completed_at),
    }
