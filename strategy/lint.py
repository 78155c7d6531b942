"""What is wrong with a ruleset that is valid: rules that never act, contradictions, limits that can't be met. Pure.

A finding is advice: the ruleset may be stored all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from strategy import defaults
from strategy.conditions import Rule
from strategy.differences import Difference, Kind
from strategy.documents import Document, Path, read_text, whole_numbers
from strategy.limits import LEAST_ATTEMPT_TOKENS, OPTIONAL, UNLIMITED, cap_of, optional, smaller
from strategy.published import PRESENT
from strategy.rules import Rules, canonical_category, normal_name, read_rules
from strategy.strictness import RUN_ORDERS
from strategy.validation import check_ruleset_document

FAR_AGE = 100
"""Runs or tiers that an issue is hardly ever seen in before it is resolved."""
MAX_FINDINGS = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at: `field` as people write a path, `line` None where the document was no text."""

    code: str
    field: str
    line: int | None
    message: str


_Row = tuple[str, Path, str]


def lint_text(text: str) -> list[Finding]:
    """Return the findings of a JSON or YAML text, by line. Raises Invalid like `check_ruleset_text`."""
    return _lint(read_text(text))


def lint_ruleset(value: Any) -> list[Finding]:
    """The same for a document that is no text. Raises Invalid."""
    return _lint(Document(whole_numbers(value)))


def _lint(document: Document) -> list[Finding]:
    value = check_ruleset_document(document)
    rules = read_rules(value)
    # as written, so that the findings' places are those of the text
    written = [read_rules({**value, "rules": [row]}).conditional[0] for row in value.get("rules", ())]
    rows = [
        *_defaults(value),
        *_categories(value, rules),
        *_limits(value, rules),
        *_profiles(rules),
        *_single_rules(value, written, rules),
        *_pairs(written, rules),
    ]
    found = [
        Finding(code, Difference(path, Kind.CHANGED, None, None).place, document.line(path), message)
        for code, path, message in rows
    ]
    found.sort(key=lambda row: (row.line or 0, row.field, row.code, row.message))
    return found[:MAX_FINDINGS]


def _defaults(value: Mapping[str, Any]) -> Iterator[_Row]:
    named = value.get("defaults", PRESENT)
    if named != PRESENT:
        yield "older-defaults", ("defaults",), f"{named} is kept, but the present defaults are {PRESENT}"


def _categories(value: Mapping[str, Any], rules: Rules) -> Iterator[_Row]:
    for name in value.get("category_map", {}):
        for spelling in value.get("category_defaults", {}):
            if normal_name(spelling) == normal_name(name):
                text = f"{name} is mapped to {rules.canonical(name)}: this row becomes that category's"
                yield "mapped-category-has-row", ("category_defaults", spelling), text
    known = _known(value, rules)
    for index, row in enumerate(value.get("rules", ())):
        for place, name in enumerate(row.get("when", {}).get("category", ())):
            if rules.canonical(name) not in known:
                path: Path = ("rules", index, "when", "category", place)
                text = f"no row, alias or list of the ruleset and no published table knows {name}"
                yield "unknown-category", path, text


def _known(value: Mapping[str, Any], rules: Rules) -> set[str]:
    mapped = {rules.canonical(name) for name in value.get("category_map", {})}
    return {*rules.rows, *rules.high_risk, *mapped, defaults.GENERAL} - {defaults.ANY_OTHER}


def _limits(value: Mapping[str, Any], rules: Rules) -> Iterator[_Row]:
    places = {
        canonical_category(name, rules.category_map): name for name in value.get("category_defaults", {})
    }
    written = {category: value["category_defaults"][name] for category, name in places.items()}
    for category, row in sorted(rules.rows.items()):
        place: Path = ("category_defaults", places[category]) if category in places else ()
        cap, run_cap = row["incident_token_cap"], rules.run_token_cap
        if smaller(cap, run_cap) != cap and "incident_token_cap" in written.get(category, {}):
            text = f"{category} may use {cap} tokens a phase, its run {run_cap}"
            yield "phase-cap-above-run-cap", (*place, "incident_token_cap"), text
        attempts = row["max_builder_attempts"] + row["max_auditor_attempts"]
        least = cap_of(smaller(cap, run_cap))
        share = None if least is None else least // max(attempts, 1)
        if share is not None and share < LEAST_ATTEMPT_TOKENS:
            where: Path = (*place, "incident_token_cap") if place else ("run_token_cap",)
            text = f"{category}: {attempts} attempts share the cap, {share} tokens each"
            yield "attempt-tokens-too-few", where, text
        if row["tier_ci_run_cap_multiplier"] < 1:
            text = f"a tier with one phase of {category} may run no gate"
            yield "no-gate-run", (*place, "tier_ci_run_cap_multiplier"), text
        if row["tier_token_cap_multiplier"] < 1:
            text = f"a tier with one phase of {category} has fewer tokens than the phase"
            yield "tier-cap-below-phase-cap", (*place, "tier_token_cap_multiplier"), text
    debt = value.get("debt_cleanup", {})
    if debt.get("max_phases") == 0 and "aged_issue_limit" in debt:
        text = "no cleanup phase is ever inserted, so that this limit means nothing"
        yield "cleanup-never", ("debt_cleanup", "aged_issue_limit"), text
    elif debt.get("max_phases", 0) > rules.run_max_phases:
        text = f"{debt['max_phases']} cleanup phases do not fit in runs of {rules.run_max_phases}"
        yield "cleanup-exceeds-run", ("debt_cleanup", "max_phases"), text


def _profiles(rules: Rules) -> Iterator[_Row]:
    names = ("minor_issue_aging_runs_threshold", "minor_issue_aging_tiers_threshold")
    for profile, row in sorted(rules.safety_profiles.items()):
        if all(row[name] > FAR_AGE for name in names):
            text = f"no issue is seen in over {FAR_AGE} runs or tiers: minor issues never count as major"
            yield "aging-never", ("safety_profiles", profile, names[0]), text
    for name in names:
        strict, normal = rules.safety_profiles["safety_critical"][name], rules.safety_profiles["normal"][name]
        if strict > normal:
            text = f"safety_critical waits {strict}, normal only {normal}"
            yield "profile-laxer-than-normal", ("safety_profiles", "safety_critical", name), text


def _single_rules(value: Mapping[str, Any], written: list[Rule], rules: Rules) -> Iterator[_Row]:
    for index, rule in enumerate(written):
        at: Path = ("rules", index)
        rows = [rules.row(name) for name in sorted(_may_match(rule, value, rules))]
        if rows and rule.complexities == frozenset({"low"}) and all(_is_risky(rule, rules)):
            text = f"{rule.rule_id} never matches: what is of high risk has the complexity high"
            yield "rule-unreachable", (*at, "when", "complexity"), text
        largest = [row.get("max_diff_lines") for row in rows]
        largest_said = [size for size in largest if size is not None]
        if (
            rule.diff_lines
            and len(largest_said) == len(rows)
            and max(largest_said, default=0) < rule.diff_lines
        ):
            text = f"{rule.rule_id} never matches: patches of {max(largest_said)} lines at most are taken"
            yield "rule-unreachable", (*at, "when", "diff_lines_at_least"), text
        idle = [name for name in rule.values if _is_idle(name, rule, rows, rules)]
        for name in idle:
            text = f"{rule.rule_id}: what is in force without the rule is as strict; a rule can't loosen"
            yield "value-without-effect", (*at, "set", name), text
        if rule.values.get("auto_apply") is False:
            given = rule.values.get("max_auditor_attempts")
            if given == 0 or any(row["max_auditor_attempts"] == 0 for row in rows):
                text = f"{rule.rule_id} needs an Auditor's approval where no audit is allowed"
                yield "no-audit-possible", (*at, "set", "auto_apply"), text
        yield from _rule_limits(rule, at, rows, rules)


def _rule_limits(rule: Rule, at: Path, rows: list[dict[str, Any]], rules: Rules) -> Iterator[_Row]:
    values = rule.values
    cap = values.get("incident_token_cap")
    run_cap = values.get("run_token_cap", rules.run_token_cap)
    if cap is not None and smaller(cap, run_cap) != cap:
        text = f"{rule.rule_id} allows a phase {cap} tokens, its run has {run_cap}"
        yield "phase-cap-above-run-cap", (*at, "set", "incident_token_cap"), text
    least: Any = UNLIMITED if rows else run_cap
    for row in rows:
        least = smaller(least, row["incident_token_cap"])
    attempts = max((row["max_builder_attempts"] + row["max_auditor_attempts"] for row in rows), default=1)
    for name, bound in (("incident_token_cap", cap), ("run_token_cap", values.get("run_token_cap"))):
        most = None if bound is None else cap_of(smaller(bound, least))
        if most is not None and most // max(attempts, 1) < LEAST_ATTEMPT_TOKENS:
            text = f"{rule.rule_id}: {attempts} attempts share {bound} tokens"
            yield "attempt-tokens-too-few", (*at, "set", name), text
    if values.get("max_attempt_tokens", LEAST_ATTEMPT_TOKENS) < LEAST_ATTEMPT_TOKENS:
        text = f"{rule.rule_id}: an attempt needs {LEAST_ATTEMPT_TOKENS} tokens to read its brief"
        yield "attempt-tokens-too-few", (*at, "set", "max_attempt_tokens"), text
    if values.get("tier_ci_run_cap_multiplier", 1) < 1:
        text = f"{rule.rule_id}: a tier with one such phase may run no gate"
        yield "no-gate-run", (*at, "set", "tier_ci_run_cap_multiplier"), text


def _may_match(rule: Rule, value: Mapping[str, Any], rules: Rules) -> set[str]:
    known = _known(value, rules)
    return {*(known if rule.categories is None else rule.categories)}


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


def _pairs(written: list[Rule], rules: Rules) -> Iterator[_Row]:
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
            audits = {rule.values.get("max_auditor_attempts"), other.values.get("max_auditor_attempts")}
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
