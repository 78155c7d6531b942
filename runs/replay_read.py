"""Past runs as they are recorded, in a number of queries that doesn't depend on how many runs are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.diff_size import DIFF_LINES
from runs.lifecycle import AttemptState
from runs.models import Attempt, Phase, Run, Tier
from strategy import defaults
from strategy.backlog import BacklogSeen
from strategy.limits import cap_of
from strategy.models import Ruleset
from strategy.rules import Rules, read_rules
from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec

ASKED = "asked"
_SIZE = f"report__{DIFF_LINES}"
# in these states an attempt has counted against its phase's attempts
_COUNTED = frozenset({AttemptState.RED, AttemptState.REFUSED, AttemptState.FAILED, AttemptState.DECIDED})


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One attempt; `tokens` None where its usage is unknown.

    `diff_lines` is what its patch adds and removes together, None where no candidate was made of it.
    """

    phase_id: str
    kind: str
    is_counted: bool
    purpose: str
    tokens: int | None
    micro_usd: int | None = None
    diff_lines: int | None = None
    is_merged: bool = False


@dataclass(frozen=True, slots=True)
class PastTier:
    """What a tier came to."""

    gate_runs: int
    minor_issues: int
    major_issues: int


@dataclass(frozen=True, slots=True)
class PastPhase:
    """How a phase was held: by its limits (gate profile, rows by size), whether it or its debt is of high risk."""

    limits: Mapping[str, Any]
    is_high_risk: bool


@dataclass(frozen=True, slots=True)
class PastRun:
    """One ended run: the plan as it was asked for, as far as that is recorded, and what happened.

    `backlog` is what its rules saw, None where that was not kept.
    """

    run_id: str
    state: str
    plan: Plan
    options: RunOptions
    backlog: BacklogSeen | None
    minor_issues: int
    minutes: float | None
    tiers: dict[str, PastTier]
    phases: dict[str, PastPhase]
    attempts: tuple[PastAttempt, ...]

    @property
    def tokens(self) -> int:
        """Return the tokens of all attempts whose usage is known."""
        return sum(attempt.tokens or 0 for attempt in self.attempts)


def read_past(run_ids: Sequence[str]) -> Iterator[PastRun]:
    """Yield the runs in the order of their ids as given, by five queries."""
    runs = {
        row["run_id"]: row
        for row in Run.objects.filter(pk__in=run_ids).values(
            "run_id", "state", "safety_profile", "run_scope", "token_cap", "max_phases",
            "max_duration_minutes", "minor_issues_count", "started_at", "completed_at", "strategy__ruleset",
            "strategy__document__origins__run", "strategy__backlog_seen",
        )
    }  # fmt: skip
    documents = Ruleset.objects.in_bulk({row["strategy__ruleset"] for row in runs.values()})
    rules = {pk: read_rules(ruleset.document) for pk, ruleset in documents.items()}
    tiers = _grouped(
        Tier.objects.filter(run__in=run_ids).order_by("tier_index", "tier_id").values(
            "id", "run_id", "tier_id", "tier_index", "name", "description", "ci_runs_used", "minor_issues_count",
            "major_issues_count",
        )
    )  # fmt: skip
    phases = _grouped(
        Phase.objects.filter(run__in=run_ids).order_by("phase_index", "phase_id").values(
            "id", "run_id", "tier_id", "phase_id", "phase_index", "name", "description", "task_category",
            "complexity", "builder_mode", "scope", "depends_on", "limits",
        )
    )  # fmt: skip
    attempts = _grouped(
        Attempt.objects.filter(run__in=run_ids).order_by("created_at", "id").values(
            "run_id", "phase_id", "kind", "state", "purpose", "tokens_used", "cost_micro_usd", "candidate_sha",
            _SIZE,
        )
    )  # fmt: skip
    for run_id in run_ids:
        if run_id in runs:
            row = runs[run_id]
            of_run = rules[row["strategy__ruleset"]]
            yield _past(row, of_run, tiers[run_id], phases[run_id], attempts[run_id])


def _past(
    row: Mapping[str, Any],
    rules: Rules,
    tiers: Sequence[Mapping[str, Any]],
    phases: Sequence[Mapping[str, Any]],
    attempts: Sequence[Mapping[str, Any]],
) -> PastRun:
    tier_ids = {tier["id"]: tier["tier_id"] for tier in tiers}
    phase_ids = {phase["id"]: phase["phase_id"] for phase in phases}
    kept = row["strategy__backlog_seen"]
    return PastRun(
        run_id=row["run_id"],
        state=row["state"],
        plan=Plan(
            tuple(
                TierSpec(tier["tier_id"], tier["tier_index"], tier["name"], tier["description"])
                for tier in tiers
            ),
            tuple(_asked(phase, tier_ids[phase["tier_id"]]) for phase in phases),
        ),
        options=asked_options(row, rules),
        backlog=None if kept is None else BacklogSeen.from_json(kept),
        minor_issues=row["minor_issues_count"],
        minutes=_minutes(row["started_at"], row["completed_at"]),
        tiers={
            tier["tier_id"]: PastTier(
                tier["ci_runs_used"], tier["minor_issues_count"], tier["major_issues_count"]
            )
            for tier in tiers
        },
        phases={
            phase["phase_id"]: PastPhase(phase["limits"], bool(phase["limits"]["high_risk"]))
            for phase in phases
        },
        attempts=tuple(
            PastAttempt(
                phase_ids[attempt["phase_id"]],
                attempt["kind"],
                attempt["state"] in _COUNTED,
                attempt["purpose"],
                attempt["tokens_used"],
                attempt["cost_micro_usd"],
                # what a builder says of its patch's size before it is judged is no size
                attempt[_SIZE] if attempt["candidate_sha"] else None,
                attempt["state"] == AttemptState.MERGED,
            )
            for attempt in attempts
        ),
    )


def _asked(phase: Mapping[str, Any], tier_id: str) -> PhaseSpec:
    """Return the phase as the plan had it: what was classified, as its reasons say, was not in the plan."""
    reasons: Sequence[str] = phase["limits"].get("because", ())
    classified = {reason.split(" ", 1)[0] for reason in reasons}
    return PhaseSpec(
        phase_id=phase["phase_id"],
        tier_id=tier_id,
        phase_index=phase["phase_index"],
        name=phase["name"],
        description=phase["description"],
        task_category=None if "category" in classified else phase["task_category"],
        complexity=None if "complexity" in classified else phase["complexity"],
        builder_mode=None if classified & {"mode", "no"} else phase["builder_mode"] or None,
        scope=tuple(phase["scope"]),
        depends_on=None if phase["depends_on"] is None else tuple(phase["depends_on"]),
    )


def asked_options(row: Mapping[str, Any], rules: Rules) -> RunOptions:
    """Return what was asked for at the start: what is recorded as such, else what the rules would not have given."""
    origins = row["strategy__document__origins__run"]
    profile = row["safety_profile"]
    scope = rules.safety_profiles[profile].get("run_scope_preference") or rules.default_run_scope
    ruled = {
        "safety_profile": ("safety_profile", rules.default_safety_profile),
        "run_scope": ("run_scope", defaults.RUN_SCOPE_ALIASES.get(scope, scope)),
        "token_cap": ("run_token_cap", cap_of(rules.run_token_cap)),
        "max_phases": ("run_max_phases", rules.run_max_phases),
        "max_duration_minutes": ("run_max_duration_minutes", rules.run_max_duration_minutes),
    }
    asked = {
        name: row[name]
        for name, (key, value) in ruled.items()
        if (row[name] != value if origins is None else origins.get(key) == ASKED)
    }
    return RunOptions(**asked)


def _minutes(started: datetime | None, completed: datetime) -> float | None:
    return None if started is None else (completed - started).total_seconds() / 60


def _grouped(rows: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["run_id"]].append(row)
    return found
