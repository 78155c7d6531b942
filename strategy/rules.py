"""A ruleset as the engine reads it: aliases folded, what it omits filled from the defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strategy import defaults

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """The effective rules, built by `read_rules`; `rows` holds every category of the table and `*`."""

    rows: dict[str, Row]
    high_risk: frozenset[str]
    category_map: dict[str, str]
    safety_profiles: dict[str, dict[str, Any]]
    default_safety_profile: str
    default_run_scope: str
    run_token_cap: int
    run_max_phases: int
    run_max_duration_minutes: int
    ci_max_retries: int
    allow: dict[str, bool]
    protected_paths: tuple[str, ...]
    severity_upgrades: dict[str, str]
    debt_aged_limit: int
    debt_max_phases: int

    def canonical(self, category: str) -> str:
        """Return the one name of a category: both spellings of the table, and the ruleset's own aliases."""
        return canonical_category(category, self.category_map)

    def row(self, category: str) -> Row:
        """Return a copy of the row in force for a canonical category."""
        found = self.rows.get(category)
        if found is not None:
            return dict(found)
        other = self.rows[defaults.ANY_OTHER]
        return _hardened(other) if category in self.high_risk else dict(other)


def normal_name(category: str) -> str:
    """Return category in the table's spelling: lower case, words joined by `_`."""
    return re.sub(r"[\s-]+", "_", category.strip().lower())


def canonical_category(category: str, category_map: Mapping[str, str]) -> str:
    """Fold spellings. The table's own names and aliases can't be mapped away by a ruleset."""
    name = normal_name(category)
    name = defaults.ALIASES.get(name, name)
    if name in _TABLE_NAMES or name not in category_map:
        return name
    mapped = normal_name(category_map[name])
    return defaults.ALIASES.get(mapped, mapped)


def is_published(name: str) -> bool:
    """Tell whether name is a category of the published table, in either spelling."""
    normal = normal_name(name)
    return defaults.ALIASES.get(normal, normal) in _TABLE_NAMES


def read_rules(ruleset: Mapping[str, Any]) -> Rules:
    """Return the effective rules of a document that the ruleset schema accepts; absent parts are defaults."""
    category_map = {normal_name(key): value for key, value in ruleset.get("category_map", {}).items()}
    listed = ruleset.get("high_risk_categories", defaults.HIGH_RISK_CATEGORIES)
    high_risk = frozenset(canonical_category(name, category_map) for name in listed)
    debt = ruleset.get("debt_cleanup", {})
    return Rules(
        rows=_rows(ruleset.get("category_defaults", {}), high_risk, category_map),
        high_risk=high_risk,
        category_map=category_map,
        safety_profiles=_profiles(ruleset.get("safety_profiles", {})),
        default_safety_profile=ruleset.get("default_safety_profile", defaults.SAFETY_PROFILES[0]),
        default_run_scope=ruleset.get("default_run_scope", defaults.RUN_SCOPES[0]),
        run_token_cap=ruleset.get("run_token_cap", defaults.RUN_TOKEN_CAP),
        run_max_phases=ruleset.get("run_max_phases", defaults.RUN_MAX_PHASES),
        run_max_duration_minutes=ruleset.get("run_max_duration_minutes", defaults.RUN_MAX_DURATION_MINUTES),
        ci_max_retries=ruleset.get("ci_max_retries", defaults.CI_MAX_RETRIES),
        allow={**defaults.NOTHING_ALLOWED, **ruleset.get("allow", {})},
        protected_paths=tuple(sorted(set(ruleset.get("protected_paths", ())))),
        severity_upgrades=dict(ruleset.get("severity_upgrades", {})),
        debt_aged_limit=debt.get("aged_issue_limit", defaults.DEBT_AGED_LIMIT),
        debt_max_phases=min(debt.get("max_phases", defaults.DEBT_MAX_PHASES), defaults.DEBT_MAX_PHASES),
    )


def _rows(
    given: Mapping[str, Mapping[str, Any]], high_risk: frozenset[str], category_map: Mapping[str, str]
) -> dict[str, Row]:
    table = defaults.category_defaults()
    overrides: dict[str, Mapping[str, Any]] = {}
    for name in sorted(given):
        overrides[canonical_category(name, category_map)] = given[name]
    other = {**table[defaults.ANY_OTHER], **overrides.get(defaults.ANY_OTHER, {})}
    rows: dict[str, Row] = {}
    for name in sorted(table.keys() | overrides.keys()):
        base = table.get(name, other)
        said = overrides.get(name, {})
        if name in high_risk and name not in _TABLE_RISKY:
            # A value that only repeats the default is no rule of its own: it must not undo the hardening.
            said = {key: value for key, value in said.items() if key not in base or value != base[key]}
            base = _hardened(base)
        rows[name] = {**base, **said}
        profile = rows[name]["auditor_profile"]
        rows[name]["auditor_profile"] = defaults.AUDITOR_PROFILE_ALIASES.get(profile, profile)
    return rows


def _hardened(row: Row) -> Row:
    """Return row under the rules for high risk (SPEC section 6)."""
    return {
        **row,
        "complexity": "high",
        "ci_profile": "strict",
        "max_builder_attempts": min(row["max_builder_attempts"], defaults.HIGH_RISK_ATTEMPTS),
        "max_auditor_attempts": max(row["max_auditor_attempts"], defaults.HIGH_RISK_ATTEMPTS),
        "incident_token_cap": min(row["incident_token_cap"], defaults.HIGH_RISK_TOKENS),
        "tier_max_minor_issues_multiplier": min(
            row["tier_max_minor_issues_multiplier"], defaults.HIGH_RISK_MINOR_MULTIPLIER
        ),
        "auto_apply": False,
        "auditor_profile": row["auditor_profile"] or defaults.GENERAL_REVIEW,
        "default_severity": "major",
    }


def _profiles(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {**row, **given.get(name, {})} for name, row in defaults.safety_profiles().items()}


_TABLE_NAMES = frozenset(defaults.category_defaults())
_TABLE_RISKY = frozenset(
    name for name, row in defaults.category_defaults().items() if row["default_severity"] == "major"
)
