"""The published defaults as data: categories (API.md section 2), budgets (SPEC section 7), profiles."""

from __future__ import annotations

from typing import Any

# category, complexity, gate, builder attempts, auditor attempts, incident tokens, minor x tier, auto apply,
# auditor profile, severity
# fmt: off
_TABLE: tuple[tuple[str, str, str, int, int, int, float, bool, str | None, str], ...] = (
    ("cross_cutting_refactor", "high", "strict", 2, 2, 1_000_000, 1.0, False, "refactor_review", "major"),
    ("index_registry_change", "high", "strict", 2, 2, 800_000, 1.0, False, "index_review", "major"),
    ("schema_contract_change", "high", "strict", 2, 3, 1_000_000, 1.0, False, "schema_review", "major"),
    ("bulk_multi_file_operation", "high", "strict", 1, 2, 1_500_000, 1.0, False, "bulk_review", "major"),
    ("security_auth_change", "high", "strict", 2, 3, 800_000, 0.5, False, "security_review", "major"),
    ("external_feature_reuse", "high", "strict", 2, 2, 1_000_000, 1.0, False,
     "external_code_review", "major"),
    ("external_code_intake", "high", "strict", 2, 3, 1_200_000, 0.5, False,
     "license_and_security_review", "major"),
    ("feature_scaffolding", "medium", "normal", 3, 2, 500_000, 2.0, True, None, "minor"),
    ("docs", "low", "normal", 2, 1, 200_000, 2.0, True, None, "minor"),
    ("tests", "low", "normal", 3, 1, 300_000, 2.0, True, None, "minor"),
    ("debt_cleanup", "medium", "normal", 2, 1, 400_000, 2.0, False, "debt_cleanup_review", "minor"),
    ("*", "medium", "normal", 3, 2, 500_000, 2.0, True, None, "minor"),
)
# fmt: on

ANY_OTHER = "*"
"""The row's name for a category that no row names."""

GENERAL = "general"
"""The category of a phase that no rule classifies; it has the row of any other."""

TIER_TOKEN_MULTIPLIER = 3
TIER_GATE_RUN_MULTIPLIER = 2
TIER_MAJOR_TOLERATED = 0
SAFETY_CRITICAL_MINOR_MULTIPLIER = 1
RUN_MINOR_MULTIPLIER = 3
RUN_TOKEN_CAP = 5_000_000
RUN_MAX_PHASES = 25
RUN_MAX_DURATION_MINUTES = 120
CI_MAX_RETRIES = 3

ALIASES: dict[str, str] = {
    "index_registry_maintenance": "index_registry_change",
    "schema_change": "schema_contract_change",
    "bulk_operation": "bulk_multi_file_operation",
    "security_auth": "security_auth_change",
}

AUDITOR_PROFILE_ALIASES: dict[str, str] = {"orchestrator_review": "refactor_review"}
GENERAL_REVIEW = "general_review"

HIGH_RISK_CATEGORIES: tuple[str, ...] = (
    "cross_cutting_refactor",
    "index_registry_change",
    "schema_contract_change",
    "bulk_multi_file_operation",
    "security_auth_change",
)

COMPLEXITIES: tuple[str, ...] = ("low", "medium", "high")
SAFETY_PROFILES: tuple[str, ...] = ("normal", "safety_critical")
RUN_SCOPES: tuple[str, ...] = ("multi_tier", "single_tier")
RUN_SCOPE_ALIASES: dict[str, str] = {"incremental": "multi_tier"}

TWEAK_LIGHT_TOKENS = 100_000
TWEAK_LIGHT_ATTEMPTS = 2
HIGH_RISK_ATTEMPTS = 2
HIGH_RISK_TOKENS = 800_000
HIGH_RISK_MINOR_MULTIPLIER = 1.0

DEBT_AGED_LIMIT = 5
"""How many aged issues a project may carry before the strategy inserts debt_cleanup phases."""
DEBT_MAX_PHASES = 5
DEBT_MAX_PATHS = 50

NOTHING_ALLOWED: dict[str, bool] = {
    "binary": False,
    "symlinks": False,
    "submodules": False,
    "protected_paths": False,
}


def _row(line: tuple[str, str, str, int, int, int, float, bool, str | None, str]) -> dict[str, Any]:
    _, complexity, gate, builders, auditors, tokens, minor, auto_apply, auditor_profile, severity = line
    return {
        "complexity": complexity,
        "ci_profile": gate,
        "max_builder_attempts": builders,
        "max_auditor_attempts": auditors,
        "incident_token_cap": tokens,
        "tier_token_cap_multiplier": TIER_TOKEN_MULTIPLIER,
        "tier_ci_run_cap_multiplier": TIER_GATE_RUN_MULTIPLIER,
        "tier_max_minor_issues_multiplier": minor,
        "tier_max_major_issues_tolerated": TIER_MAJOR_TOLERATED,
        "auto_apply": auto_apply,
        "auditor_profile": auditor_profile,
        "default_severity": severity,
    }


def category_defaults() -> dict[str, dict[str, Any]]:
    """Return a fresh copy of the category table, `*` being the row of any other category or none."""
    return {line[0]: _row(line) for line in _TABLE}


def safety_profiles() -> dict[str, dict[str, Any]]:
    """Return a fresh copy of the two safety profiles with their aging thresholds (runs, tiers)."""
    return {
        "normal": {
            "name": "normal",
            "description": "A failed phase fails its tier; the rest is still tried",
            "minor_issue_aging_runs_threshold": 3,
            "minor_issue_aging_tiers_threshold": 2,
            "run_scope_preference": "multi_tier",
        },
        "safety_critical": {
            "name": "safety_critical",
            "description": "No phase may fail and no major issue is tolerated",
            "minor_issue_aging_runs_threshold": 2,
            "minor_issue_aging_tiers_threshold": 1,
            "run_scope_preference": "multi_tier",
        },
    }


def default_ruleset(project_id: str) -> dict[str, Any]:
    """Return version 1 of a project's ruleset: every default, written out to be read and edited."""
    return {
        "version": 1,
        "project_id": project_id,
        "default_safety_profile": "normal",
        "default_run_scope": "multi_tier",
        "safety_profiles": safety_profiles(),
        "category_defaults": category_defaults(),
        "high_risk_categories": list(HIGH_RISK_CATEGORIES),
        "run_token_cap": RUN_TOKEN_CAP,
        "run_max_phases": RUN_MAX_PHASES,
        "run_max_duration_minutes": RUN_MAX_DURATION_MINUTES,
        "ci_max_retries": CI_MAX_RETRIES,
        "allow": dict(NOTHING_ALLOWED),
        "debt_cleanup": {"aged_issue_limit": DEBT_AGED_LIMIT, "max_phases": DEBT_MAX_PHASES},
    }
