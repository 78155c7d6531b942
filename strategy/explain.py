"""Where each value of a frozen strategy came from: the rule behind it, as far as the documents tell. Pure.

Known are the strategy and the ruleset that it was compiled from, not the request. A value of the run that is not
the ruleset's can only have been asked for; one that was asked for and is the ruleset's anyway counts as the
ruleset's. A phase's value is its category's, or was narrowed by one of the engine's rules; where several could
have done it, each is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strategy import defaults
from strategy.rules import Rules, canonical_category, normal_name, read_rules

ASKED = "asked for when the run was started"
PUBLISHED = "the published default"


@dataclass(frozen=True)
class Explained:
    """One value with the rule behind it; `name` is its key in the strategy document."""

    name: str
    value: Any
    rule: str


_RUN_KEYS = (
    ("run_token_cap", "run_token_cap"),
    ("run_max_phases", "run_max_phases"),
    ("run_max_duration_minutes", "run_max_duration_minutes"),
)
_AGING_KEYS = ("minor_issue_aging_runs_threshold", "minor_issue_aging_tiers_threshold")
_CATEGORY_KEYS = (
    "complexity", "ci_profile", "max_builder_attempts", "max_auditor_attempts", "incident_token_cap", "auto_apply",
    "auditor_profile", "ci_max_retries", "default_severity",
)  # fmt: skip
_CLASSIFIED = ("category", "complexity", "mode", "no mode")
_MODES = {
    "tweak_light": frozenset({"max_builder_attempts", "incident_token_cap", "complexity"}),
    "scaffolding_heavy": frozenset({"complexity"}),
    "refactor_heavy": frozenset({"max_builder_attempts", "ci_profile", "complexity", "auditor_profile"}),
    "schema_heavy": frozenset({"max_builder_attempts", "ci_profile", "complexity", "auditor_profile"}),
}


def explain_run(document: Mapping[str, Any], ruleset: Mapping[str, Any]) -> list[Explained]:
    """Return the run's own values."""
    rules = read_rules(ruleset)
    name = _title(document)
    profile = document["safety_profile"]
    found = [
        _option(
            document, "safety_profile", rules.default_safety_profile, "default_safety_profile", ruleset, name
        ),
        _scope(document, rules, ruleset, name),
    ]
    for key, of_rules in _RUN_KEYS:
        found.append(_option(document, key, getattr(rules, of_rules), of_rules, ruleset, name))
    found.append(Explained("on_phase_failure", document["on_phase_failure"], f"safety profile {profile}"))
    total = document["run_max_minor_issues_total"]
    found.append(
        Explained(
            "run_max_minor_issues_total",
            total,
            f"{defaults.RUN_MINOR_MULTIPLIER} for each of {len(document['phase_strategies'])} phases",
        )
    )
    for key in _AGING_KEYS:
        own = key in ruleset.get("safety_profiles", {}).get(profile, {})
        rule = f"{name}: safety_profiles.{profile}" if own else f"{PUBLISHED} of safety profile {profile}"
        found.append(Explained(key, document[key], rule))
    return found


def explain_tier(tier_id: str, document: Mapping[str, Any], phase_ids: list[str]) -> list[Explained]:
    """Return a tier's caps; `phase_ids` are its phases."""
    row = document["tier_strategies"][tier_id]
    critical = document["safety_profile"] == "safety_critical"
    count = f"{len(phase_ids)} phase" + ("" if len(phase_ids) == 1 else "s")
    minor = f"the sum of tier_max_minor_issues_multiplier over {count}"
    major = "the least tier_max_major_issues_tolerated of its phases"
    if critical:
        minor += f", {defaults.SAFETY_CRITICAL_MINOR_MULTIPLIER} each at most (safety_critical)"
        major = "safety_critical tolerates none"
    return [
        Explained(
            "token_cap",
            row["token_cap"],
            f"the sum of tier_token_cap_multiplier x incident_token_cap over {count}",
        ),
        Explained("ci_run_cap", row["ci_run_cap"], f"the sum of tier_ci_run_cap_multiplier over {count}"),
        Explained("max_minor_issues_tolerated", row["max_minor_issues_tolerated"], minor),
        Explained("max_major_issues_tolerated", row["max_major_issues_tolerated"], major),
    ]


def explain_phase(phase_id: str, document: Mapping[str, Any], ruleset: Mapping[str, Any]) -> list[Explained]:
    """Return a phase's values."""
    rules = read_rules(ruleset)
    phase = document["phase_strategies"][phase_id]
    category = phase["task_category"]
    because = {_subject(text): text for text in phase["because"]}
    found = [Explained("task_category", category, because.get("category", "the plan"))]
    mode_rule = because.get("mode") or because.get("no mode") or "the plan"
    found.append(Explained("builder_mode", phase["builder_mode"], mode_rule))
    row = {"ci_max_retries": rules.ci_max_retries, **rules.row(category)}
    for key in _CATEGORY_KEYS:
        if key == "complexity" and "complexity" in because and phase[key] != row[key]:
            rule = _narrowed(key, phase, document, rules) or because["complexity"]
        elif phase[key] == row[key]:
            rule = _category_rule(key, category, ruleset, rules, _title(document))
        else:
            rule = _narrowed(key, phase, document, rules) or "the plan"
        found.append(Explained(key, phase[key], rule))
    attempts = phase["max_builder_attempts"] + phase["max_auditor_attempts"]
    found += [
        Explained(
            "max_attempt_tokens", phase["max_attempt_tokens"], f"incident_token_cap / {attempts} attempts"
        ),
        Explained(
            "audit_after_failures",
            phase["audit_after_failures"],
            "one less than max_builder_attempts, 1 at least",
        ),
        Explained("requires_audit", phase["requires_audit"], "the opposite of auto_apply"),
        Explained("high_risk", phase["high_risk"], _risk(category, phase, rules, ruleset, _title(document))),
    ]
    return found


def _title(document: Mapping[str, Any]) -> str:
    return f"ruleset version {document['ruleset_version']}"


def _option(
    document: Mapping[str, Any], key: str, ruled: Any, path: str, ruleset: Mapping[str, Any], name: str
) -> Explained:
    value = document[key]
    if value != ruled:
        return Explained(key, value, ASKED)
    return Explained(key, value, f"{name}: {path}" if path in ruleset else PUBLISHED)


def _scope(document: Mapping[str, Any], rules: Rules, ruleset: Mapping[str, Any], name: str) -> Explained:
    profile = document["safety_profile"]
    preferred = rules.safety_profiles[profile].get("run_scope_preference")
    ruled = preferred or rules.default_run_scope
    value = document["run_scope"]
    if value != defaults.RUN_SCOPE_ALIASES.get(ruled, ruled):
        return Explained("run_scope", value, ASKED)
    if not preferred:
        return Explained("run_scope", value, f"{name}: default_run_scope")
    own = "run_scope_preference" in ruleset.get("safety_profiles", {}).get(profile, {})
    rule = f"{name}: safety_profiles.{profile}" if own else f"{PUBLISHED} of safety profile {profile}"
    return Explained("run_scope", value, rule)


def _subject(reason: str) -> str:
    return next((word for word in _CLASSIFIED if reason.startswith((f"{word} ", f"{word}:"))), reason)


def _category_rule(key: str, category: str, ruleset: Mapping[str, Any], rules: Rules, name: str) -> str:
    """Name the row that gives a category's value: the ruleset's own, or the published one."""
    given = {
        canonical_category(spelling, rules.category_map): (spelling, row)
        for spelling, row in sorted(ruleset.get("category_defaults", {}).items())
    }
    base = category if category in rules.rows else defaults.ANY_OTHER
    for wanted in (base, defaults.ANY_OTHER) if base not in defaults.category_defaults() else (base,):
        spelling, row = given.get(wanted, (wanted, {}))
        if key in row and row[key] == rules.row(category).get(key):
            return f"{name}: category_defaults.{normal_name(spelling) if spelling != '*' else '*'}"
    if key == "ci_max_retries":
        return f"{name}: ci_max_retries" if key in ruleset else PUBLISHED
    if category in rules.high_risk and category not in defaults.category_defaults():
        return f"hardened: {name} lists {category} as high risk"
    return f"{PUBLISHED} of category {base}"


def _narrowed(key: str, phase: Mapping[str, Any], document: Mapping[str, Any], rules: Rules) -> str:
    """Name the engine's rules that made a phase's value differ from its category's."""
    rows: list[str] = []
    if key == "complexity" and phase["task_category"] in rules.high_risk:
        return f"category {phase['task_category']} is high risk"
    if key in _MODES.get(phase["builder_mode"] or "", ()):
        rows.append(f"narrowed by builder mode {phase['builder_mode']}")
    if key == "incident_token_cap" and phase[key] == document["run_token_cap"]:
        rows = ["no more than the run's token cap"]
    if (
        key in ("ci_profile", "auto_apply")
        and phase["high_risk"]
        and phase["task_category"] == "debt_cleanup"
    ):
        rows.append("it cleans up debt of a high-risk category")
    if key == "auditor_profile" and phase["requires_audit"] and phase[key] == defaults.GENERAL_REVIEW:
        rows.append("what is not applied without an audit has an auditor")
    return ", or ".join(rows)


def _risk(
    category: str, phase: Mapping[str, Any], rules: Rules, ruleset: Mapping[str, Any], name: str
) -> str:
    listed = f"{name}: high_risk_categories" if "high_risk_categories" in ruleset else PUBLISHED
    if phase["high_risk"] and category not in rules.high_risk:
        return "it cleans up debt of a high-risk category"
    return listed
