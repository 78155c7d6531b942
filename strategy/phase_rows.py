"""One phase's row of the strategy: its category's, narrowed by its mode and by every rule that matches.

Nothing here loosens: each step joins what stands with what it demands. Beside each value that is not simply the
category's stands its origin, for `explain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from strategy import classify, defaults
from strategy.conditions import PhaseFacts, Rule
from strategy.limits import OPTIONAL, UNLIMITED, cap_of, micro_usd, optional, smaller, usd
from strategy.rules import Rules
from strategy.strictness import BY_DIFF_SIZE, Order
from strategy.types import PhaseSpec

PLAN = "plan"
CLASSIFIED = "classified"
HIGH_RISK = "high_risk"
DEBT_RISK = "debt_risk"
NEEDS_AUDITOR = "needs_auditor"
RUN_CAP = "run_token_cap"
RUN_COST_CAP = "run_cost_cap_usd"
MODE = "mode "
RULES = "rule "
_TIER = (
    "tier_token_cap_multiplier", "tier_ci_run_cap_multiplier", "tier_max_minor_issues_multiplier",
    "tier_max_major_issues_tolerated",
)  # fmt: skip
_ABSENT_IF_NONE = (
    "max_turns", "build_token_cap", "audit_token_cap", "incident_cost_cap_usd", "max_attempt_cost_usd",
)  # fmt: skip


@dataclass
class PhaseDraft:
    """A phase's values while they are made."""

    category: str
    mode: str | None
    reasons: list[str]
    is_high_risk: bool
    scope: tuple[str, ...]
    values: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> PhaseFacts:
        """Return what rules may ask; call it before any rule is applied."""
        return PhaseFacts(self.category, self.values["complexity"], self.scope)

    @property
    def attempts(self) -> int:
        """Return builder and auditor attempts together."""
        return int(self.values["max_builder_attempts"] + self.values["max_auditor_attempts"])

    def put(self, name: str, value: Any, origin: str) -> None:
        """Set a value; where it is the one that stands already, the origin stands too."""
        if value != self.values[name]:
            self.values[name] = value
            self.origins[name] = origin


def draft(phase: PhaseSpec, rules: Rules, *, holds_risky_debt: bool = False) -> PhaseDraft:
    """Return the phase before any rule: its category's row, narrowed by its mode and by the debt it cleans."""
    reasons: list[str] = []
    origins: dict[str, str] = {"task_category": PLAN, "builder_mode": PLAN}
    if phase.task_category:
        category = rules.canonical(phase.task_category)
    else:
        found, why = classify.classify_category(phase, rules.classification)
        category = rules.canonical(found)
        origins["task_category"] = CLASSIFIED
        reasons.append(why)
    row = rules.row(category)
    is_high_risk = category in rules.high_risk
    if is_high_risk:
        complexity = "high"
        if row["complexity"] != complexity:
            origins["complexity"] = HIGH_RISK
    elif phase.complexity:
        complexity = phase.complexity
        origins["complexity"] = PLAN
    else:
        complexity, why = classify.classify_complexity(phase, row["complexity"], rules.classification)
        reasons.append(why)
        if complexity != row["complexity"]:
            origins["complexity"] = CLASSIFIED
    mode = phase.builder_mode
    if mode is None:
        mode, why = classify.classify_mode(phase, category, complexity, rules.classification)
        origins["builder_mode"] = CLASSIFIED
        reasons.append(why)
    values = {
        **row,
        "complexity": complexity,
        "ci_max_retries": row.get("ci_max_retries", rules.ci_max_retries),
        "allow": {**rules.allow, **row.get("allow", {})},
        **{name: optional(row.get(name)) for name in OPTIONAL},
    }
    made = PhaseDraft(category, mode, reasons, is_high_risk, phase.scope, values, origins)
    _narrow_by_mode(made, phase, rules)
    if holds_risky_debt:
        made.is_high_risk = True
        made.put("ci_profile", "strict", DEBT_RISK)
        made.put("auto_apply", False, DEBT_RISK)
    return made


def _narrow_by_mode(made: PhaseDraft, phase: PhaseSpec, rules: Rules) -> None:
    values, origin = made.values, f"{MODE}{made.mode}"
    bounds = rules.published.tweak_light
    if made.mode == "tweak_light":
        for name in ("max_builder_attempts", "incident_token_cap"):
            made.put(name, smaller(values[name], bounds[name]), origin)
        if values["complexity"] == "medium" and not phase.complexity:
            made.put("complexity", "low", origin)
    elif made.mode == "scaffolding_heavy":
        if values["complexity"] == "low":
            made.put("complexity", "medium", origin)
    elif made.mode in ("refactor_heavy", "schema_heavy"):
        most = rules.published.hardening["max_builder_attempts"]
        made.put("max_builder_attempts", min(values["max_builder_attempts"], most), origin)
        made.put("ci_profile", "strict", origin)
        made.put("complexity", "high", origin)
        review = made.mode.replace("_heavy", "_review")
        made.put("auditor_profile", values["auditor_profile"] or review, origin)


def finished(
    made: PhaseDraft, matching: Iterable[Rule], rules: Rules, *, run: Mapping[str, Any]
) -> dict[str, Any]:
    """Apply the rules that match and return the strategy's row; `made` keeps the values and the origins.

    `run` has the run's values. What one attempt may use is a share of the phase's cap by the attempts before any
    rule: a rule that takes attempts away must not make those that are left larger.
    """
    matching = sorted(matching, key=lambda rule: rule.rule_id)
    now = [rule for rule in matching if rule.diff_lines is None]
    shares = made.attempts
    values = made.values
    values["on_phase_failure"] = run["on_phase_failure"]
    for name in sorted({name for rule in now for name in rule.phase_values}):
        if name in values:
            _join(made, name, values[name], now, rules)
    _need_auditor(made)
    _bound_by_run(made, run)
    said_major = [rule.rule_id for rule in now if rule.phase_values.get("default_severity") == "major"]
    if said_major:  # the category's own severity is that of issues of the category, wherever they are seen
        made.origins["least_severity"] = RULES + ", ".join(said_major)
    for name, value in (
        ("max_attempt_tokens", _share(cap_of(values["incident_token_cap"]), shares)),
        ("audit_after_failures", max(1, values["max_builder_attempts"] - 1)),
        ("max_attempt_cost_usd", _cost_share(values["incident_cost_cap_usd"], shares)),
    ):
        values[name] = value
        _join(made, name, value, now, rules)
    return {
        "task_category": made.category,
        "complexity": values["complexity"],
        "builder_mode": made.mode,
        "max_builder_attempts": values["max_builder_attempts"],
        "max_auditor_attempts": values["max_auditor_attempts"],
        "incident_token_cap": values["incident_token_cap"],
        "ci_profile": values["ci_profile"],
        "auto_apply": values["auto_apply"],
        "auditor_profile": values["auditor_profile"],
        "max_attempt_tokens": values["max_attempt_tokens"],
        "ci_max_retries": values["ci_max_retries"],
        "audit_after_failures": values["audit_after_failures"],
        "requires_audit": not values["auto_apply"],
        "max_diff_lines": values["max_diff_lines"],
        # a strategy of before these limits has the same bytes still
        **{name: values[name] for name in _ABSENT_IF_NONE if values[name] is not None},
        **({"on_phase_failure": "stop"} if values["on_phase_failure"] != run["on_phase_failure"] else {}),
        **({"least_severity": "major"} if said_major else {}),
        "by_diff_size": _by_diff_size(
            made, [rule for rule in matching if rule.diff_lines is not None], rules
        ),
        "scope": sorted(set(made.scope)),
        "high_risk": made.is_high_risk,
        "allowed": values["allow"],
        "default_severity": values["default_severity"],
        "because": made.reasons,
    }


def _bound_by_run(made: PhaseDraft, run: Mapping[str, Any]) -> None:
    """Promise no phase more than its run has."""
    values = made.values
    made.put("incident_token_cap", smaller(values["incident_token_cap"], run["run_token_cap"]), RUN_CAP)
    cost, of_run = values["incident_cost_cap_usd"], run.get("run_cost_cap_usd")
    if of_run is not None:
        made.put("incident_cost_cap_usd", of_run if cost is None else min(cost, of_run), RUN_COST_CAP)


def _share(cap: int | None, attempts: int) -> int | str:
    return UNLIMITED if cap is None else max(1, cap // max(attempts, 1))


def _cost_share(cap: Any, attempts: int) -> int | float | None:
    micro = micro_usd(cap)
    return None if micro is None else usd(max(1, micro // max(attempts, 1)))


def _join(made: PhaseDraft, name: str, value: Any, matching: Iterable[Rule], rules: Rules) -> None:
    """Join what the rules set with the value that stands; those that set the outcome are its origin."""
    order = rules.orders[name]
    said = [(rule.rule_id, rule.phase_values[name]) for rule in matching if name in rule.phase_values]
    outcome = value
    for _, wanted in said:
        outcome = order.join(outcome, wanted)
    made.put(name, outcome, RULES + ", ".join(authors(order, value, outcome, said)))


def authors(order: Order, before: Any, outcome: Any, said: list[tuple[str, Any]]) -> list[str]:
    """Return the rules without which the outcome would be laxer, or that each say the whole of it."""
    if isinstance(outcome, (dict, list)):  # made of parts: whoever adds to it
        return [rule_id for rule_id, wanted in said if order.join(before, wanted) != before]
    return [rule_id for rule_id, wanted in said if wanted == outcome]


def _need_auditor(made: PhaseDraft) -> None:
    if not made.values["auto_apply"]:
        made.put("auditor_profile", made.values["auditor_profile"] or defaults.GENERAL_REVIEW, NEEDS_AUDITOR)


def _by_diff_size(made: PhaseDraft, sized: list[Rule], rules: Rules) -> list[dict[str, Any]]:
    """Return what holds from each size of a patch on, each row as strict as those before it."""
    rows: list[dict[str, Any]] = []
    held = {name: made.values[name] for name in sorted(BY_DIFF_SIZE)}
    for size in sorted({int(rule.diff_lines or 0) for rule in sized}):
        reached = [rule for rule in sized if rule.diff_lines == size]
        before = dict(held)
        for rule in reached:
            for name, wanted in rule.phase_values.items():
                held[name] = rules.orders[name].join(held[name], wanted)
        if held == before:
            continue
        rows.append(
            {
                "diff_lines": size,
                "ci_profile": held["ci_profile"],
                "requires_audit": not held["auto_apply"],
                "auditor_profile": held["auditor_profile"]
                or (None if held["auto_apply"] else defaults.GENERAL_REVIEW),
                "rules": [
                    rule.rule_id
                    for rule in reached
                    if any(
                        rules.orders[name].join(before[name], wanted) != before[name]
                        for name, wanted in rule.phase_values.items()
                    )
                ],
            }
        )
    return rows


def tier_share(made: PhaseDraft) -> dict[str, Any]:
    """Return what the phase adds to its tier's caps."""
    return {name: made.values[name] for name in _TIER}
