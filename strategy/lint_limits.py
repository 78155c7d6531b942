"""Which limits can't be met: of categories' rows, of the run, and of rules. Pure; three tables say which.

0 is zero: nothing starts by it. A part above its whole means nothing. Fewer tokens than an attempt needs to read its
brief are given for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from strategy.conditions import Rule
from strategy.documents import Path
from strategy.limits import (
    LEAST_ATTEMPT_TOKENS,
    NULL_IS_DEFAULT,
    OPTIONAL,
    OPTIONAL_OF_RUN,
    UNLIMITED,
    cap_of,
    smaller,
    without_nulls,
)
from strategy.lint_rules import LintRow
from strategy.rules import Rules, canonical_category

ZEROS: dict[str, str] = {
    "max_builder_attempts": "no builder starts",
    "incident_token_cap": "no attempt starts",
    "build_token_cap": "no builder starts",
    "incident_cost_cap_usd": "no attempt starts",
    "max_turns": "no attempt starts",
    "max_attempt_tokens": "no attempt starts",
    "max_attempt_cost_usd": "no attempt starts",
    "max_diff_lines": "no patch that changes a line is taken",
    "run_token_cap": "no attempt of the run starts",
    "run_build_token_cap": "no builder of the run starts",
    "run_cost_cap_usd": "no attempt of the run starts",
    "run_max_phases": "no plan with a phase is taken",
    "run_max_duration_minutes": "the run ends before its first attempt",
}
"""Limits with what 0 means for them. Of audits there may be none, unless one is needed: see `lint_rules`."""

LEAST_TOKENS = (
    "build_token_cap", "audit_token_cap", "max_attempt_tokens", "run_build_token_cap", "run_audit_token_cap",
)  # fmt: skip
"""Limits that, unless they are 0, have to hold one attempt's least; a phase's whole cap is shared by its attempts."""

WITHIN: tuple[tuple[str, str, str], ...] = (
    ("incident_token_cap", "run_token_cap", "phase-cap-above-run-cap"),
    ("incident_cost_cap_usd", "run_cost_cap_usd", "phase-cap-above-run-cap"),
    ("build_token_cap", "incident_token_cap", "part-above-whole"),
    ("audit_token_cap", "incident_token_cap", "part-above-whole"),
    ("build_token_cap", "run_build_token_cap", "part-above-whole"),
    ("audit_token_cap", "run_audit_token_cap", "part-above-whole"),
    ("run_build_token_cap", "run_token_cap", "part-above-whole"),
    ("run_audit_token_cap", "run_token_cap", "part-above-whole"),
    ("max_attempt_cost_usd", "incident_cost_cap_usd", "part-above-whole"),
)
"""A limit, what it can't be above, and the finding's code."""

NO_LIMIT_BY_DEFAULT = frozenset((*OPTIONAL, *OPTIONAL_OF_RUN))

TIER_SHARES: dict[str, tuple[str, str]] = {
    "tier_ci_run_cap_multiplier": ("no-gate-run", "may run no gate"),
    "tier_token_cap_multiplier": ("tier-cap-below-phase-cap", "has fewer tokens than the phase"),
}
"""A phase's shares of its tier that can't be below 1: code, and what a tier of one such phase has then."""


def limit_findings(value: Mapping[str, Any], rules: Rules) -> Iterator[LintRow]:
    """Find limits of the ruleset's own, of its categories and of debt cleanup that can't be met."""
    places = {
        canonical_category(name, rules.category_map): name for name in value.get("category_defaults", {})
    }
    of_run = _limits_of_run(rules)
    run_said = {name: item for name, item in without_nulls(value).items() if name in NULL_IS_DEFAULT}
    yield from _by_tables("the ruleset", (), run_said, of_run)
    if run_said.get("run_audit_token_cap") == 0 and any(not row["auto_apply"] for row in rules.rows.values()):
        text = "no audit starts, and there are categories that need an Auditor's approval"
        yield "no-audit-possible", ("run_audit_token_cap",), text
    for category, row in sorted(rules.rows.items()):
        place: Path = ("category_defaults", places[category]) if category in places else ()
        said = without_nulls(value["category_defaults"][places[category]]) if place else {}
        yield from _by_tables(category, place, said, {**of_run, **row})
        if said.get("audit_token_cap") == 0 and not row["auto_apply"]:
            text = f"{category} needs an Auditor's approval and allows no audit"
            yield "no-audit-possible", (*place, "audit_token_cap"), text
        yield from _shared(category, place, row, rules.run_token_cap)
        for name, (code, words) in TIER_SHARES.items():
            if row[name] < 1:
                yield code, (*place, name), f"a tier with one phase of {category} {words}"
    yield from _debt(value, rules)


def _debt(value: Mapping[str, Any], rules: Rules) -> Iterator[LintRow]:
    """Find limits of debt cleanup, the ruleset's own and those of its rules, that come to nothing."""
    said: list[tuple[Path, str, int]] = [
        (("debt_cleanup", name), name, most) for name, most in value.get("debt_cleanup", {}).items()
    ]
    for index, rule in enumerate(value.get("rules", ())):
        said += [
            (("rules", index, "set", f"debt_{name}"), name, rule["set"][f"debt_{name}"])
            for name in ("aged_issue_limit", "max_phases")
            if f"debt_{name}" in rule["set"]
        ]
    is_ever = rules.debt_max_phases > 0 or any(name == "max_phases" and most > 0 for _, name, most in said)
    for place, name, most in said:
        if name == "aged_issue_limit" and not is_ever:
            yield (
                "cleanup-never",
                place,
                "no cleanup phase is ever inserted, so that this limit means nothing",
            )
        elif name == "max_phases" and most > rules.run_max_phases:
            text = f"{most} cleanup phases do not fit in runs of {rules.run_max_phases}"
            yield "cleanup-exceeds-run", place, text


def rule_limit_findings(
    rule: Rule, index: int, rows: list[dict[str, Any]], rules: Rules
) -> Iterator[LintRow]:
    """Find what a rule sets that can't be met; `rows` are those of the categories that it may meet."""
    at: Path = ("rules", index, "set")
    values = rule.values
    names = {whole for _, whole, _ in WITHIN}
    # a limit means something where one phase that the rule may meet has a larger whole
    in_force = {name: _largest(row.get(name) for row in rows) for name in names if rows}
    yield from _by_tables(rule.rule_id, at, values, {**in_force, **_limits_of_run(rules), **values})
    run_cap = values.get("run_token_cap", rules.run_token_cap)
    least: Any = UNLIMITED if rows else run_cap
    for row in rows:
        least = smaller(least, row["incident_token_cap"])
    attempts = max((_attempts(row) for row in rows), default=1)
    for name in ("incident_token_cap", "run_token_cap"):
        most = cap_of(smaller(values[name], least)) if values.get(name) else None
        if most and most // max(attempts, 1) < LEAST_ATTEMPT_TOKENS:
            text = f"{rule.rule_id}: {attempts} attempts share {values[name]} tokens"
            yield "attempt-tokens-too-few", (*at, name), text
    for name, (code, words) in TIER_SHARES.items():
        if values.get(name, 1) < 1:
            yield code, (*at, name), f"{rule.rule_id}: a tier with one such phase {words}"


def _by_tables(
    who: str, place: Path, said: Mapping[str, Any], in_force: Mapping[str, Any]
) -> Iterator[LintRow]:
    """Hold what one part of the ruleset says against the tables; `in_force` has what holds beside it."""
    for name, words in ZEROS.items():
        if said.get(name) == 0:
            yield "nothing-starts", (*place, name), f"{who}: {name} is 0, and 0 is zero: {words}"
    for name in LEAST_TOKENS:
        cap = cap_of(said.get(name))
        if cap and cap < LEAST_ATTEMPT_TOKENS:
            text = f"{who}: {cap} tokens, and an attempt needs {LEAST_ATTEMPT_TOKENS} to read its brief"
            yield "attempt-tokens-too-few", (*place, name), text
    for name, whole, code in WITHIN:
        part, most = said.get(name), in_force.get(whole)
        if not part or most in (None, 0, UNLIMITED) or (part == UNLIMITED and name in NO_LIMIT_BY_DEFAULT):
            continue
        if smaller(part, most) != part:
            yield code, (*place, name), f"{who}: {name} is {part}, and {whole} only {most}"


def _limits_of_run(rules: Rules) -> dict[str, Any]:
    caps = {name: rules.optional_caps[name] for name in OPTIONAL_OF_RUN}
    return {**caps, "run_token_cap": rules.run_token_cap}


def _shared(category: str, place: Path, row: Mapping[str, Any], run_cap: int | str) -> Iterator[LintRow]:
    attempts = _attempts(row)
    least = cap_of(smaller(row["incident_token_cap"], run_cap))
    share = None if least is None else least // max(attempts, 1)
    if least and share is not None and share < LEAST_ATTEMPT_TOKENS:
        where: Path = (*place, "incident_token_cap") if place else ("run_token_cap",)
        text = f"{category}: {attempts} attempts share the cap, {share} tokens each"
        yield "attempt-tokens-too-few", where, text


def _attempts(row: Mapping[str, Any]) -> int:
    return int(row["max_builder_attempts"] + row["max_auditor_attempts"])


def _largest(caps: Iterable[Any]) -> Any:
    """Return the largest of written caps; a row without one is not limited."""
    found = list(caps)
    return UNLIMITED if UNLIMITED in found or None in found else max(found)
