"""What is wrong with a ruleset that is valid: rules that never act, contradictions, limits that can't be met. Pure.

A finding is advice: the ruleset may be stored all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from strategy.conditions import Rule
from strategy.differences import Difference, Kind
from strategy.documents import Document, Path, read_text, whole_numbers
from strategy.lint_limits import limit_findings, rule_limit_findings
from strategy.lint_rules import LintRow, known_categories, may_match, pair_findings, rule_findings
from strategy.published import PRESENT
from strategy.rules import Rules, normal_name, read_rules
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
        *limit_findings(value, rules),
        *_profiles(rules),
        *rule_findings(value, written, rules),
        *_rule_limits(value, written, rules),
        *pair_findings(written, rules),
    ]
    found = [
        Finding(code, Difference(path, Kind.CHANGED, None, None).place, document.line(path), message)
        for code, path, message in rows
    ]
    found.sort(key=lambda row: (row.line or 0, row.field, row.code, row.message))
    return found[:MAX_FINDINGS]


def _defaults(value: Mapping[str, Any]) -> Iterator[LintRow]:
    named = value.get("defaults", PRESENT)
    if named != PRESENT:
        yield "older-defaults", ("defaults",), f"{named} is kept, but the present defaults are {PRESENT}"


def _categories(value: Mapping[str, Any], rules: Rules) -> Iterator[LintRow]:
    for name in value.get("category_map", {}):
        for spelling in value.get("category_defaults", {}):
            if normal_name(spelling) == normal_name(name):
                text = f"{name} is mapped to {rules.canonical(name)}: this row becomes that category's"
                yield "mapped-category-has-row", ("category_defaults", spelling), text
    known = known_categories(value, rules)
    for index, row in enumerate(value.get("rules", ())):
        for place, name in enumerate(row.get("when", {}).get("category", ())):
            if rules.canonical(name) not in known:
                path: Path = ("rules", index, "when", "category", place)
                text = f"no row, alias or list of the ruleset and no published table knows {name}"
                yield "unknown-category", path, text


def _profiles(rules: Rules) -> Iterator[LintRow]:
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


def _rule_limits(value: Mapping[str, Any], written: list[Rule], rules: Rules) -> Iterator[LintRow]:
    for index, rule in enumerate(written):
        rows = [rules.row(name) for name in sorted(may_match(rule, value, rules))]
        yield from rule_limit_findings(rule, index, rows, rules)
