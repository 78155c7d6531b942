"""A ruleset as the engine reads it: aliases folded, what it omits filled from the defaults that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strategy import defaults
from strategy.classify import Table, read_table
from strategy.conditions import BACKLOG_COUNTS, Rule
from strategy.limits import OPTIONAL_OF_RUN, optional, smaller, without_nulls
from strategy.published import Published, published_by
from strategy.strictness import Order, orders

Row = dict[str, Any]

DEFAULTS = "defaults"
HARDENED = "hardened"
"""Origins of a category's values beside the ruleset's own row, whose origin is `category_defaults.NAME`."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The effective rules, built by `read_rules`; `rows` holds every category of the table and `*`.

    `optional_caps`: the run's caps that have none by default, None where the ruleset sets none; `prices` as written.

    `origins` says for each value of `rows` where it was read.
    """

    published: Published
    rows: dict[str, Row]
    origins: dict[str, dict[str, str]]
    conditional: tuple[Rule, ...]
    orders: dict[str, Order]
    profile_order: tuple[str, ...]
    high_risk: frozenset[str]
    category_map: dict[str, str]
    safety_profiles: dict[str, dict[str, Any]]
    default_safety_profile: str
    default_run_scope: str
    run_token_cap: int | str
    run_max_phases: int
    run_max_duration_minutes: int
    ci_max_retries: int
    allow: dict[str, bool]
    protected_paths: tuple[str, ...]
    severity_upgrades: dict[str, str]
    debt_aged_limit: int
    debt_max_phases: int
    optional_caps: dict[str, Any]
    prices: tuple[dict[str, Any], ...]
    classification: Table

    def canonical(self, category: str) -> str:
        """Return the one name of a category: both spellings of the table, and the ruleset's own aliases."""
        return canonical_category(category, self.category_map)

    def row(self, category: str) -> Row:
        """Return a copy of the row in force for a canonical category."""
        found = self.rows.get(category)
        if found is not None:
            return dict(found)
        other = self.rows[defaults.ANY_OTHER]
        return _hardened(other, self.published) if category in self.high_risk else dict(other)

    def origin(self, category: str, name: str) -> str:
        """Return where a value of the category's row comes from."""
        if category in self.rows:
            return self.origins[category].get(name, DEFAULTS)
        if category in self.high_risk and self.row(category)[name] != self.rows[defaults.ANY_OTHER][name]:
            return HARDENED
        return self.origins[defaults.ANY_OTHER].get(name, DEFAULTS)


def normal_name(category: str) -> str:
    """Return category in the table's spelling: lower case, words joined by `_`."""
    return re.sub(r"[\s-]+", "_", category.strip().lower())


def canonical_category(category: str, category_map: Mapping[str, str]) -> str:
    """Fold spellings. The table's own names and aliases can't be mapped away by a ruleset."""
    name = normal_name(category)
    name = defaults.ALIASES.get(name, name)
    if name in defaults.CATEGORIES or name not in category_map:
        return name
    mapped = normal_name(category_map[name])
    return defaults.ALIASES.get(mapped, mapped)


def is_published(name: str) -> bool:
    """Tell whether name is a category of the published table, in either spelling."""
    normal = normal_name(name)
    return defaults.ALIASES.get(normal, normal) in defaults.CATEGORIES


def normal_form(ruleset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as it is hashed and stored: its rules by id, as their order means nothing."""
    given = ruleset.get("rules")
    if given is None:
        return dict(ruleset)
    return {**ruleset, "rules": sorted(given, key=lambda rule: str(rule["id"]))}


def read_rules(ruleset: Mapping[str, Any]) -> Rules:
    """Return the effective rules of a document that the ruleset schema accepts; absent parts are defaults."""
    published = published_by(ruleset)
    category_map = {normal_name(key): value for key, value in ruleset.get("category_map", {}).items()}

    def said(name: str) -> Any:
        return ruleset[name] if ruleset.get(name) is not None else published.part(name)

    high_risk = frozenset(canonical_category(name, category_map) for name in said("high_risk_categories"))
    debt = {**published.part("debt_cleanup"), **ruleset.get("debt_cleanup", {})}
    profile_order = tuple(ruleset.get("auditor_profile_order", published.auditor_profile_order))
    rows, origins = _rows(ruleset.get("category_defaults", {}), high_risk, category_map, published)
    return Rules(
        published=published,
        rows=rows,
        origins=origins,
        conditional=tuple(_rule(row, category_map) for row in normal_form(ruleset).get("rules", ())),
        orders=orders(profile_order),
        profile_order=profile_order,
        high_risk=high_risk,
        category_map=category_map,
        safety_profiles=_profiles(ruleset.get("safety_profiles", {}), published),
        default_safety_profile=said("default_safety_profile"),
        default_run_scope=said("default_run_scope"),
        run_token_cap=said("run_token_cap"),
        run_max_phases=said("run_max_phases"),
        run_max_duration_minutes=said("run_max_duration_minutes"),
        ci_max_retries=said("ci_max_retries"),
        allow={**published.part("allow"), **ruleset.get("allow", {})},
        protected_paths=tuple(sorted(set(ruleset.get("protected_paths", ())))),
        severity_upgrades=dict(ruleset.get("severity_upgrades", {})),
        debt_aged_limit=debt["aged_issue_limit"],
        debt_max_phases=min(debt["max_phases"], published.ruleset["debt_cleanup"]["max_phases"]),
        optional_caps={name: optional(ruleset.get(name)) for name in OPTIONAL_OF_RUN},
        prices=tuple(sorted(ruleset.get("prices", ()), key=lambda row: (row["model"], row["from"]))),
        classification=read_table(
            ruleset.get("classification", {}),
            lambda category: canonical_category(category, category_map),
            lambda category: _risk(category, rows, high_risk),
        ),
    )


def _risk(category: str, rows: Mapping[str, Row], high_risk: frozenset[str]) -> int:
    """Return the place of a category among the risks, 0 being the highest: what ambiguous phases are read by."""
    row = rows.get(category, rows[defaults.ANY_OTHER])
    if category in high_risk:
        return 0
    if row["default_severity"] == "major":
        return 1
    return 3 if row["complexity"] == "low" else 2


def _rule(row: Mapping[str, Any], category_map: Mapping[str, str]) -> Rule:
    when = row.get("when", {})
    backlog = when.get("backlog", {})
    values = {key: sorted(value) if isinstance(value, list) else value for key, value in row["set"].items()}
    if "auditor_profile" in values:
        profile = row["set"]["auditor_profile"]
        values["auditor_profile"] = defaults.AUDITOR_PROFILE_ALIASES.get(profile, profile)
    categories = when.get("category")
    return Rule(
        rule_id=row["id"],
        values=values,
        categories=None
        if categories is None
        else frozenset(canonical_category(name, category_map) for name in categories),
        complexities=_set(when.get("complexity")),
        paths=tuple(sorted(set(when["paths"]))) if "paths" in when else None,
        safety_profiles=_set(when.get("safety_profile")),
        backlog=tuple((name, backlog[name]) for name in BACKLOG_COUNTS if name in backlog),
        diff_lines=when.get("diff_lines_at_least"),
    )


def _set(values: list[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def _rows(
    given: Mapping[str, Mapping[str, Any]],
    high_risk: frozenset[str],
    category_map: Mapping[str, str],
    published: Published,
) -> tuple[dict[str, Row], dict[str, dict[str, str]]]:
    """Return the row of each category, and where its values come from when they are not the published ones."""
    table: dict[str, Row] = published.part("category_defaults")
    overrides: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for name in sorted(given):
        overrides[canonical_category(name, category_map)] = (name, without_nulls(given[name]))
    other_name, other_said = overrides.get(defaults.ANY_OTHER, (defaults.ANY_OTHER, {}))
    other = {**table[defaults.ANY_OTHER], **other_said}
    rows: dict[str, Row] = {}
    origins: dict[str, dict[str, str]] = {}
    for name in sorted(table.keys() | overrides.keys()):
        is_own = name not in table
        base = other if is_own else table[name]
        from_base = dict.fromkeys(other_said, f"category_defaults.{other_name}") if is_own else {}
        spelling, said = overrides.get(name, (name, {}))
        if name in high_risk and name not in published.risky:
            # A value that only repeats the default is no rule of its own: it must not undo the hardening.
            said = {key: value for key, value in said.items() if key not in base or value != base[key]}
            hard = _hardened(base, published)
            from_base |= {key: HARDENED for key in hard if hard[key] != base[key]}
            base = hard
        rows[name] = {**base, **said}
        origins[name] = from_base | dict.fromkeys(said, f"category_defaults.{spelling}")
        profile = rows[name]["auditor_profile"]
        rows[name]["auditor_profile"] = defaults.AUDITOR_PROFILE_ALIASES.get(profile, profile)
    return rows, origins


def _hardened(row: Row, published: Published) -> Row:
    """Return row under the rules for high risk (SPEC section 6)."""
    bounds = published.hardening
    least = "max_auditor_attempts"
    tight = ("max_builder_attempts", "incident_token_cap", "tier_max_minor_issues_multiplier")
    return {
        **row,
        "complexity": "high",
        "ci_profile": "strict",
        least: max(row[least], bounds[least]),
        **{name: smaller(row[name], bounds[name]) for name in tight},
        "auto_apply": False,
        "auditor_profile": row["auditor_profile"] or defaults.GENERAL_REVIEW,
        "default_severity": "major",
    }


def _profiles(given: Mapping[str, Mapping[str, Any]], published: Published) -> dict[str, dict[str, Any]]:
    return {name: {**row, **given.get(name, {})} for name, row in published.part("safety_profiles").items()}
