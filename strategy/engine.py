"""The engine: (ruleset, backlog, plan) -> strategy. Pure: no ORM, no clock, no chance, no environment.

Same values give the same bytes, whatever the order of phases, of backlog entries or of dictionary keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from strategy import classify, debt, defaults
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.errors import TooManyPhases
from strategy.rules import Rules, read_rules
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
) -> CompiledStrategy:
    """Compile the rules, the aged issues and the plan into the strategy of one run.

    `ruleset` has passed `validation.check_ruleset`; `plan` has unique ids and known tiers. Token caps are
    tokens, durations minutes. Raises TooManyPhases when the plan exceeds the run's phase cap, Invalid when
    an option is not one of the rules' or a phase names no tier of the plan.
    """
    rules = read_rules(ruleset)
    run = _run_level(rules, options)
    max_phases: int = run["run_max_phases"]
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
    _require_tiers(plan)
    thresholds = (run["minor_issue_aging_runs_threshold"], run["minor_issue_aging_tiers_threshold"])
    inserted = debt.insert_debt_cleanup(
        _in_order(plan), backlog, rules, max_phases=max_phases, thresholds=thresholds
    )
    advice = [{"code": code, "phase_id": None, "message": text} for code, text in inserted.advice]
    phases: dict[str, dict[str, Any]] = {}
    classified: list[PhaseSpec] = []
    for phase in inserted.plan.phases:
        row = _phase_strategy(
            phase,
            rules,
            run_token_cap=run["run_token_cap"],
            holds_risky_debt=phase.phase_id in inserted.high_risk_phases,
        )
        phases[phase.phase_id] = row
        classified.append(
            replace(
                phase,
                task_category=phase.task_category or row["task_category"],
                complexity=phase.complexity or row["complexity"],
                builder_mode=phase.builder_mode or row["builder_mode"],
            )
        )
        advice += _phase_advice(phase.phase_id, row, run["run_scope"])
    document = {
        "version": STRATEGY_VERSION,
        "run_id": run_id,
        "project_id": project_id,
        **run,
        "run_max_minor_issues_total": defaults.RUN_MINOR_MULTIPLIER * len(phases),
        "ruleset_version": ruleset.get("version"),
        "ruleset_sha256": sha256_hex(canonical_bytes(ruleset)),
        "protected_paths": list(rules.protected_paths),
        "severity_upgrades": rules.severity_upgrades,
        "category_strategies": {
            name: rules.row(name)
            for name in sorted(rules.rows.keys() | {row["task_category"] for row in phases.values()})
        },
        "tier_strategies": _tier_strategies(inserted.plan, phases, rules, run["safety_profile"]),
        "phase_strategies": phases,
        "advice": advice,
    }
    canonical = canonical_bytes(document)
    return CompiledStrategy(
        document=document,
        plan=Plan(inserted.plan.tiers, tuple(classified)),
        canonical=canonical,
        sha256=sha256_hex(canonical),
    )


def _run_level(rules: Rules, options: RunOptions) -> dict[str, Any]:
    problems: list[dict[str, Any]] = []
    profile_name = options.safety_profile or rules.default_safety_profile
    if profile_name not in rules.safety_profiles:
        known = ", ".join(sorted(rules.safety_profiles))
        problems.append(
            problem(
                "value_error", ["body", "run", "safety_profile"], f"Safety profile must be one of {known}"
            )
        )
        profile_name = defaults.SAFETY_PROFILES[0]
    profile = rules.safety_profiles[profile_name]
    scope = options.run_scope or profile.get("run_scope_preference") or rules.default_run_scope
    scope = defaults.RUN_SCOPE_ALIASES.get(scope, scope)
    if scope not in defaults.RUN_SCOPES:
        problems.append(
            problem(
                "value_error",
                ["body", "run", "run_scope"],
                f"Run scope must be one of {', '.join(defaults.RUN_SCOPES)}",
            )
        )
    for name, value, least in (
        ("token_cap", options.token_cap, 0),
        ("max_phases", options.max_phases, 0),
        ("max_duration_minutes", options.max_duration_minutes, 1),
    ):
        if value is not None and value < least:
            problems.append(problem("value_error", ["body", "run", name], f"Must be at least {least}"))
    if problems:
        raise Invalid(problems)
    return {
        "safety_profile": profile_name,
        "run_scope": scope,
        "run_token_cap": _first(options.token_cap, rules.run_token_cap),
        "run_max_phases": _first(options.max_phases, rules.run_max_phases),
        "run_max_duration_minutes": _first(options.max_duration_minutes, rules.run_max_duration_minutes),
        "on_phase_failure": "stop" if profile_name == "safety_critical" else "continue",
        "minor_issue_aging_runs_threshold": profile["minor_issue_aging_runs_threshold"],
        "minor_issue_aging_tiers_threshold": profile["minor_issue_aging_tiers_threshold"],
    }


def _phase_strategy(
    phase: PhaseSpec, rules: Rules, *, run_token_cap: int, holds_risky_debt: bool
) -> dict[str, Any]:
    """Return the phase's row: its category's, narrowed by its mode, which never loosens a category."""
    reasons: list[str] = []
    if phase.task_category:
        category = rules.canonical(phase.task_category)
    else:
        found, why = classify.classify_category(phase)
        category = rules.canonical(found)
        reasons.append(why)
    row = rules.row(category)
    is_high_risk = category in rules.high_risk
    complexity: str
    if is_high_risk:
        complexity = "high"
    elif phase.complexity:
        complexity = phase.complexity
    else:
        complexity, why = classify.classify_complexity(phase, row["complexity"])
        reasons.append(why)
    mode = phase.builder_mode
    if mode is None:
        mode, why = classify.classify_mode(phase, category, complexity)
        reasons.append(why)
    builders, tokens, gate = row["max_builder_attempts"], row["incident_token_cap"], row["ci_profile"]
    auto_apply, auditor_profile = row["auto_apply"], row["auditor_profile"]
    if mode == "tweak_light":
        builders = min(builders, defaults.TWEAK_LIGHT_ATTEMPTS)
        tokens = min(tokens, defaults.TWEAK_LIGHT_TOKENS)
        if complexity == "medium" and not phase.complexity:
            complexity = "low"
    elif mode == "scaffolding_heavy":
        complexity = "medium" if complexity == "low" else complexity
    elif mode in ("refactor_heavy", "schema_heavy"):
        builders = min(builders, defaults.HIGH_RISK_ATTEMPTS)
        gate, complexity = "strict", "high"
        auditor_profile = auditor_profile or mode.replace("_heavy", "_review")
    if holds_risky_debt:
        gate, auto_apply, is_high_risk = "strict", False, True
    if not auto_apply:
        auditor_profile = auditor_profile or defaults.GENERAL_REVIEW
    # A phase can't be promised more than its run has.
    tokens = min(tokens, run_token_cap)
    auditors = row["max_auditor_attempts"]
    return {
        "task_category": category,
        "complexity": complexity,
        "builder_mode": mode,
        "max_builder_attempts": builders,
        "max_auditor_attempts": auditors,
        "incident_token_cap": tokens,
        "ci_profile": gate,
        "auto_apply": auto_apply,
        "auditor_profile": auditor_profile,
        "max_attempt_tokens": max(1, tokens // (builders + auditors)),
        "ci_max_retries": row.get("ci_max_retries", rules.ci_max_retries),
        "audit_after_failures": max(1, builders - 1),
        "requires_audit": not auto_apply,
        "scope": sorted(set(phase.scope)),
        "high_risk": is_high_risk,
        "allowed": {**rules.allow, **row.get("allow", {})},
        "default_severity": row["default_severity"],
        "because": reasons,
    }


def _tier_strategies(
    plan: Plan, phases: Mapping[str, Mapping[str, Any]], rules: Rules, safety_profile: str
) -> dict[str, dict[str, Any]]:
    is_critical = safety_profile == "safety_critical"
    tiers: dict[str, dict[str, Any]] = {}
    for tier in plan.tiers:
        tokens = runs = minor = Fraction(0)
        majors: list[int] = []
        for phase in plan.phases:
            if phase.tier_id != tier.tier_id:
                continue
            strategy = phases[phase.phase_id]
            row = rules.row(strategy["task_category"])
            tokens += _exact(row["tier_token_cap_multiplier"]) * strategy["incident_token_cap"]
            runs += _exact(row["tier_ci_run_cap_multiplier"])
            minor_multiplier = _exact(row["tier_max_minor_issues_multiplier"])
            if is_critical:
                minor_multiplier = min(minor_multiplier, Fraction(defaults.SAFETY_CRITICAL_MINOR_MULTIPLIER))
            minor += minor_multiplier
            majors.append(row["tier_max_major_issues_tolerated"])
        gate_runs = int(runs)
        tiers[tier.tier_id] = {
            "tier_id": tier.tier_id,
            "token_cap": int(tokens),
            "ci_run_cap": gate_runs,
            "gate_run_cap": gate_runs,
            "max_minor_issues_tolerated": int(minor),
            "max_major_issues_tolerated": 0 if is_critical else min(majors, default=0),
        }
    return tiers


def _phase_advice(phase_id: str, row: Mapping[str, Any], run_scope: str) -> list[dict[str, Any]]:
    mode = row["builder_mode"]
    if mode == "scaffolding_heavy" and row["complexity"] != "low":
        text = "Large scaffolding: consider splitting the phase in two or three"
        return [{"code": "consider-splitting", "phase_id": phase_id, "message": text}]
    if mode in ("refactor_heavy", "schema_heavy") and run_scope != "single_tier":
        text = f"A {mode} phase is best run with the run scope single_tier"
        return [{"code": "prefer-single-tier", "phase_id": phase_id, "message": text}]
    return []


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


def _exact(multiplier: int | float) -> Fraction:
    """Return the decimal that the document shows, not its nearest double: 10 x 0.1 is 1."""
    return Fraction(str(multiplier))


def _first(wanted: int | None, otherwise: int) -> int:
    return otherwise if wanted is None else wanted
