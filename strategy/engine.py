"""The engine: (ruleset, backlog, plan) -> strategy. Pure: no ORM, no clock, no chance, no environment.

Same values give the same bytes, whatever the order of phases, of backlog entries or of dictionary keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from strategy import debt
from strategy.backlog import BacklogSeen
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.conditions import RunFacts
from strategy.errors import TooManyPhases
from strategy.limits import LEAST_ATTEMPT_TOKENS, cap_of
from strategy.phase_rows import PhaseDraft, draft, finished
from strategy.rules import Rules, normal_form, read_rules
from strategy.run_rows import (
    RunDraft,
    debt_limits,
    ruled_run_values,
    run_values,
    tier_origins,
    tier_strategies,
)
from strategy.types import BacklogItem, CompiledStrategy, PhaseSpec, Plan, RunOptions

STRATEGY_VERSION = "v1"


def compile_strategy(
    ruleset: Mapping[str, Any],
    backlog: Sequence[BacklogItem],
    plan: Plan,
    *,
    run_id: str,
    project_id: str,
    options: RunOptions,
    cleans_up: bool = True,
) -> CompiledStrategy:
    """Compile the rules, the aged issues and the plan into the strategy of one run.

    `ruleset` has passed `validation.check_ruleset`; `plan` has unique ids and known tiers. Token caps are
    tokens, durations minutes. `cleans_up` false inserts no debt_cleanup phase. Raises TooManyPhases when the
    plan exceeds the run's phase cap, Invalid when an option is not one of the rules' or a phase names no tier
    of the plan.
    """
    rules = read_rules(ruleset)
    seen = BacklogSeen.of(backlog)
    decided, classified = decide(rules, backlog if cleans_up else (), plan, options=options, seen=seen)
    document = {
        "version": STRATEGY_VERSION,
        "run_id": run_id,
        "project_id": project_id,
        "ruleset_version": ruleset.get("version"),
        "ruleset_sha256": sha256_hex(canonical_bytes(normal_form(ruleset))),
        **decided,
    }
    canonical = canonical_bytes(document)
    return CompiledStrategy(
        document=document,
        plan=classified,
        canonical=canonical,
        sha256=sha256_hex(canonical),
        backlog_seen=seen.to_json(),
    )


def decide(
    rules: Rules,
    to_clean_up: Sequence[BacklogItem],
    plan: Plan,
    *,
    options: RunOptions,
    seen: BacklogSeen,
) -> tuple[dict[str, Any], Plan]:
    """Return what the rules say of a run, without the names and hashes of its document, and the classified plan.

    Rules ask `seen` for counts of the backlog; debt_cleanup phases are made of the entries `to_clean_up`. Raises
    like `compile_strategy`.

    Which entries are of age has two answers, so that no circle arises: the conditions of rules count by the safety
    profile's thresholds, as they stand before any rule; cleanup is for what has reached the run's own, which rules
    may have lowered. Cleanup phases that a rule so adds raise no cap of the run.
    """
    asked = run_values(rules, options)
    _require_tiers(plan)
    ordered = _in_order(plan)
    facts_of_run = _run_facts(asked, seen)
    holding = [rule for rule in rules.conditional if rule.holds_in(facts_of_run)]
    run = ruled_run_values(asked, ordered, holding, rules)
    max_phases: int = run.values["run_max_phases"]
    if len(plan.phases) > max_phases:
        raise TooManyPhases(
            [
                problem(
                    "too_many_phases",
                    ["body", "phases"],
                    f"The plan has {len(plan.phases)} phases; the run may have {max_phases}",
                )
            ]
        )
    insert = partial(debt.insert_debt_cleanup, ordered, to_clean_up, rules, max_phases=max_phases)
    ruled, unruled = debt_limits(run, rules), debt_limits(asked, rules)
    inserted = insert(thresholds=_thresholds(run), limits=ruled)
    counted = len(inserted.plan.phases)
    if (ruled, _thresholds(run)) != (
        unruled,
        _thresholds(asked),
    ):  # cleanup that a rule adds raises no cap of the run
        counted = min(counted, len(insert(thresholds=_thresholds(asked), limits=unruled).plan.phases))
    advice = [{"code": code, "phase_id": None, "message": text} for code, text in inserted.advice]
    phases: dict[str, dict[str, Any]] = {}
    drafts: dict[str, PhaseDraft] = {}
    classified: list[PhaseSpec] = []
    for phase in inserted.plan.phases:
        made = draft(phase, rules, holds_risky_debt=phase.phase_id in inserted.high_risk_phases)
        facts = made.facts
        row = finished(
            made,
            [rule for rule in holding if rule.matches(facts)],
            rules,
            run=run.values,
        )
        if phase.phase_id in inserted.cleans_up:
            row["cleans_up"] = inserted.cleans_up[phase.phase_id]
        phases[phase.phase_id], drafts[phase.phase_id] = row, made
        classified.append(
            replace(
                phase,
                task_category=phase.task_category or row["task_category"],
                complexity=phase.complexity or row["complexity"],
                builder_mode=phase.builder_mode or row["builder_mode"],
            )
        )
        advice += _phase_advice(phase.phase_id, row, run.values["run_scope"])
    tiers = tier_strategies(inserted.plan, drafts, rules, run.values["safety_profile"])
    run.limit("run_max_minor_issues_total", rules.published.run_minor_issues_per_phase * counted)
    decided = {
        **run.values,
        "defaults": rules.published.name,
        "category_strategies": {
            name: rules.row(name)
            for name in sorted(rules.rows.keys() | {row["task_category"] for row in phases.values()})
        },
        "tier_strategies": tiers,
        "phase_strategies": phases,
        "advice": advice,
        "origins": {
            "run": run.origins,
            "tiers": tier_origins(inserted.plan, drafts),
            "phases": {phase_id: made.origins for phase_id, made in drafts.items()},
        },
    }
    return decided, Plan(inserted.plan.tiers, tuple(classified))


def phase_limit(
    ruleset: Mapping[str, Any], backlog: Sequence[BacklogItem], plan: Plan, options: RunOptions
) -> int:
    """Return how many phases one run of the plan may have. Raises Invalid like `compile_strategy`."""
    rules = read_rules(ruleset)
    asked = run_values(rules, options)
    _require_tiers(plan)
    facts = _run_facts(asked, BacklogSeen.of(backlog))
    holding = [rule for rule in rules.conditional if rule.holds_in(facts)]
    return int(ruled_run_values(asked, plan, holding, rules).values["run_max_phases"])


def _run_facts(asked: RunDraft, seen: BacklogSeen) -> RunFacts:
    return RunFacts(asked.values["safety_profile"], *seen.counts(_thresholds(asked)))


def _thresholds(run: RunDraft) -> tuple[int, int]:
    values = run.values
    return values["minor_issue_aging_runs_threshold"], values["minor_issue_aging_tiers_threshold"]


def _phase_advice(phase_id: str, row: Mapping[str, Any], run_scope: str) -> list[dict[str, Any]]:
    rows = []
    given = cap_of(row["max_attempt_tokens"])
    if given is not None and given < LEAST_ATTEMPT_TOKENS:
        text = f"An attempt is given {given} tokens of the phase's {row['incident_token_cap']}: too few for its brief"
        rows.append({"code": "attempt-tokens-too-few", "phase_id": phase_id, "message": text})
    mode = row["builder_mode"]
    if mode == "scaffolding_heavy" and row["complexity"] != "low":
        text = "Large scaffolding: consider splitting the phase in two or three"
        rows.append({"code": "consider-splitting", "phase_id": phase_id, "message": text})
    elif mode in ("refactor_heavy", "schema_heavy") and run_scope != "single_tier":
        text = f"A {mode} phase is best run with the run scope single_tier"
        rows.append({"code": "prefer-single-tier", "phase_id": phase_id, "message": text})
    return rows


def _require_tiers(plan: Plan) -> None:
    tiers = [tier.tier_id for tier in plan.tiers]
    ids = [phase.phase_id for phase in plan.phases]
    if len(set(tiers)) != len(tiers) or len(set(ids)) != len(ids):
        raise Invalid("Tier and phase ids must be unique")
    for phase in plan.phases:
        if phase.tier_id not in tiers:
            raise Invalid(f"Phase {phase.phase_id} references unknown tier {phase.tier_id}")


def _in_order(plan: Plan) -> Plan:
    index = {tier.tier_id: (tier.tier_index, tier.tier_id) for tier in plan.tiers}
    return Plan(
        tuple(sorted(plan.tiers, key=lambda tier: (tier.tier_index, tier.tier_id))),
        tuple(
            sorted(plan.phases, key=lambda phase: (index[phase.tier_id], phase.phase_index, phase.phase_id))
        ),
    )
