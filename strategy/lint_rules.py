"""What is wrong with rules as such: they never match, never act, or can't be obeyed together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from strategy import defaults
from strategy.backlog import MOST_SEEN
from strategy.conditions import Rule
from strategy.documents import Path
from strategy.limits import OPTIONAL, cap_of, optional, smaller
from strategy.rules import Rules
from strategy.strictness import RUN_ORDERS

LintRow = tuple[str, Path, str]
"""A finding's code, its place in the ruleset, and what is to be said of it."""
NO_AUDIT = ("max_auditor_attempts", "audit_token_cap", "run_audit_token_cap")
"""Limits at which, when they are 0, no audit can start."""

DEBT: dict[str, Callable[[Rules], int]] = {
    "debt_aged_issue_limit": lambda rules: rules.debt_aged_limit,
    "debt_max_phases": lambda rules: rules.debt_max_phases,
}
"""What rules may set of debt cleanup, and what is in force without them."""


def known_categories(value: Mapping[str, Any], rules: Rules) -> set[str]:
    """Return the canonical categories that the ruleset or the published table names."""
    mapped = {rules.canonical(name) for name in value.get("category_map", {})}
    return {*rules.rows, *rules.high_risk, *mapped, defaults.GENERAL} - {defaults.ANY_OTHER}


def may_match(rule: Rule, value: Mapping[str, Any], rules: Rules) -> set[str]:
    """Return the categories that the rule may meet."""
    return {*(known_categories(value, rules) if rule.categories is None else rule.categories)}


def rule_findings(value: Mapping[str, Any], written: list[Rule], rules: Rules) -> Iterator[LintRow]:
    """Find rules that never match, values that change nothing, and audits that are needed and not allowed."""
    for index, rule in enumerate(written):
        at: Path = ("rules", index)
        rows = [rules.row(name) for name in sorted(may_match(rule, value, rules))]
        if rows and rule.complexities == frozenset({"low"}) and all(_is_risky(rule, rules)):
            text = f"{rule.rule_id} never matches: what is of high risk has the complexity high"
            yield "rule-unreachable", (*at, "when", "complexity"), text
        for name, least in rule.backlog:
            if least > MOST_SEEN:
                text = f"{rule.rule_id} never matches: a strategy looks at {MOST_SEEN:,} issues at most"
                yield "rule-unreachable", (*at, "when", "backlog", name), text
        largest = _largest_patch(rule, value, written, rules) if rule.diff_lines else None
        if rule.diff_lines and largest is not None and largest < rule.diff_lines:
            text = f"{rule.rule_id} never matches: patches of {largest} lines at most are taken"
            yield "rule-unreachable", (*at, "when", "diff_lines_at_least"), text
        idle = [name for name in rule.values if _is_idle(name, rule, rows, rules)]
        for name in idle:
            text = f"{rule.rule_id}: what is in force without the rule is as strict; a rule can't loosen"
            yield "value-without-effect", (*at, "set", name), text
        yield from _no_audit(rule, at, rows)


def _no_audit(rule: Rule, at: Path, rows: list[dict[str, Any]]) -> Iterator[LintRow]:
    none_by = [name for name in NO_AUDIT if rule.values.get(name) == 0]
    if rule.values.get("auto_apply") is False:
        if none_by or any(row.get(name) == 0 for row in rows for name in NO_AUDIT):
            text = f"{rule.rule_id} needs an Auditor's approval where no audit is allowed"
            yield "no-audit-possible", (*at, "set", "auto_apply"), text
    elif any(not row["auto_apply"] for row in rows):
        for name in none_by:
            text = f"{rule.rule_id} allows no audit where an Auditor's approval is needed"
            yield "no-audit-possible", (*at, "set", name), text


def _largest_patch(rule: Rule, value: Mapping[str, Any], written: list[Rule], rules: Rules) -> int | None:
    """Return how many lines a patch may have at most wherever the rule may hold; None where any number."""
    names = may_match(rule, value, rules)
    if rule.categories is None:
        names.add(defaults.ANY_OTHER)
    anywhere = replace(rule, categories=None)
    bounds = [
        (other.categories, int(other.values["max_diff_lines"]))
        for other in written
        if "max_diff_lines" in other.values and _implies(anywhere, replace(other, categories=None))
    ]
    found: list[int] = []
    for name in names:
        row = cap_of(rules.row(name).get("max_diff_lines"))
        said = [bound for categories, bound in bounds if categories is None or name in categories]
        if row is None and not said:
            return None
        found.append(min(said if row is None else [*said, row]))
    return max(found, default=None)


def _is_risky(rule: Rule, rules: Rules) -> list[bool]:
    names = rule.categories
    return [False] if names is None else [name in rules.high_risk for name in names]


def _is_idle(name: str, rule: Rule, rows: list[dict[str, Any]], rules: Rules) -> bool:
    """Tell whether the value changes nothing, whatever phase the rule meets."""
    order, wanted = rules.orders[name], rule.values[name]
    if order.laxest is not None and wanted == order.laxest:
        return True
    if name == "allow":
        return all(order.covers({**rules.allow, **row.get("allow", {})}, wanted) for row in rows)
    if name == "protected_paths":
        return set(wanted) <= set(rules.protected_paths)
    if name == "severity_upgrades":
        return set(wanted) <= set(rules.severity_upgrades)
    if name in DEBT:
        return order.covers(DEBT[name](rules), wanted)
    if name == "on_phase_failure":  # what a critical run does already
        return rule.safety_profiles == frozenset({"safety_critical"})
    if name == "default_severity":
        return False  # a category's own is that of issues of the category, not of what its phases see
    if name in RUN_ORDERS:
        return False  # a request may ask for more than the ruleset says
    if name == "ci_max_retries":
        return all(order.covers(row.get(name, rules.ci_max_retries), wanted) for row in rows)
    if name == "max_attempt_tokens":
        caps = [cap_of(smaller(row["incident_token_cap"], rules.run_token_cap)) for row in rows]
        attempts = [max(row["max_builder_attempts"] + row["max_auditor_attempts"], 1) for row in rows]
        shares = [None if cap is None else cap // tries for cap, tries in zip(caps, attempts, strict=True)]
        return all(share is not None and share <= wanted for share in shares)
    if name == "audit_after_failures":
        return all(max(1, row["max_builder_attempts"] - 1) <= wanted for row in rows)
    if name in OPTIONAL:
        return all(order.covers(optional(row.get(name)), wanted) for row in rows)
    if name == "max_attempt_cost_usd":
        return False  # what an attempt's share is depends on the run's cap as well
    return all(order.covers(row[name], wanted) for row in rows)


def pair_findings(written: list[Rule], rules: Rules) -> Iterator[LintRow]:
    """Find rules that another makes needless, and rules that meet and can't both be obeyed."""
    for index, rule in enumerate(written):
        for other_index, other in enumerate(written):
            if index == other_index:
                continue
            if _covered(rule, other, rules) and not (index < other_index and _covered(other, rule, rules)):
                text = f"{rule.rule_id} never acts: {other.rule_id} matches whenever it does and is as strict"
                yield "rule-without-effect", ("rules", index), text
                break
        for other in written[:index]:
            mine, its = rule.values.get("auditor_profile"), other.values.get("auditor_profile")
            if mine and its and mine != its and _may_meet(rule, other) and _unranked(mine, its, rules):
                text = f"{rule.rule_id} asks for {mine}, {other.rule_id} for {its}: say which is the stricter"
                text += " in auditor_profile_order"
                yield "profiles-without-order", ("rules", index, "set", "auditor_profile"), text
            audits = {one.values.get(name) for one in (rule, other) for name in NO_AUDIT}
            applies = {rule.values.get("auto_apply"), other.values.get("auto_apply")}
            if 0 in audits and False in applies and _may_meet(rule, other):
                text = f"{rule.rule_id} and {other.rule_id} together need an audit and allow none"
                yield "no-audit-possible", ("rules", index, "set"), text


def _unranked(first: str, second: str, rules: Rules) -> bool:
    """Tell whether neither profile is ranked: only their names would decide."""
    return not {first, second} & set(rules.profile_order)


def _covered(rule: Rule, other: Rule, rules: Rules) -> bool:
    """Tell whether other matches whenever rule does, and says all that rule says at least as strictly."""
    return _implies(rule, other) and all(
        name in other.values and rules.orders[name].covers(other.values[name], wanted)
        for name, wanted in rule.values.items()
    )


def _implies(rule: Rule, other: Rule) -> bool:
    for mine, its in (
        (rule.categories, other.categories),
        (rule.complexities, other.complexities),
        (rule.safety_profiles, other.safety_profiles),
        (_set(rule.paths), _set(other.paths)),
    ):
        if its is not None and (mine is None or not mine <= its):
            return False
    counts = dict(rule.backlog)
    if any(counts.get(name, 0) < least for name, least in other.backlog):
        return False
    return other.diff_lines is None or (rule.diff_lines is not None and rule.diff_lines >= other.diff_lines)


def _set(values: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _may_meet(rule: Rule, other: Rule) -> bool:
    for mine, its in (
        (rule.categories, other.categories),
        (rule.complexities, other.complexities),
        (rule.safety_profiles, other.safety_profiles),
    ):
        if mine is not None and its is not None and not mine & its:
            return False
    return True
