"""The published table of category defaults, number by number, through the engine."""

from __future__ import annotations

import pytest

from strategy.validation import check_ruleset
from tests.strategy.builders import compiled, phase, row

# category, complexity, gate, builder and auditor attempts, tokens, minor x tier, auto, profile, severity
TABLE = [
    ("cross_cutting_refactor", "high", "strict", 2, 2, 1_000_000, 1, False, "refactor_review", "major"),
    ("index_registry_change", "high", "strict", 2, 2, 800_000, 1, False, "index_review", "major"),
    ("schema_contract_change", "high", "strict", 2, 3, 1_000_000, 1, False, "schema_review", "major"),
    ("bulk_multi_file_operation", "high", "strict", 1, 2, 1_500_000, 1, False, "bulk_review", "major"),
    ("security_auth_change", "high", "strict", 2, 3, 800_000, 0.5, False, "security_review", "major"),
    ("external_feature_reuse", "high", "strict", 2, 2, 1_000_000, 1, False, "external_code_review", "major"),
    ("external_code_intake", "high", "strict", 2, 3, 1_200_000, 0.5, False, "license_and_security_review",
     "major"),
    ("feature_scaffolding", "medium", "normal", 3, 2, 500_000, 2, True, None, "minor"),
    ("docs", "low", "normal", 2, 1, 200_000, 2, True, None, "minor"),
    ("tests", "low", "normal", 3, 1, 300_000, 2, True, None, "minor"),
    ("debt_cleanup", "medium", "normal", 2, 1, 400_000, 2, False, "debt_cleanup_review", "minor"),
    ("something_else", "medium", "normal", 3, 2, 500_000, 2, True, None, "minor"),
    (None, "medium", "normal", 3, 2, 500_000, 2, True, None, "minor"),
]  # fmt: skip
ALIASES = {
    "index_registry_maintenance": "index_registry_change",
    "schema_change": "schema_contract_change",
    "bulk_operation": "bulk_multi_file_operation",
    "security_auth": "security_auth_change",
}
FIELDS = (
    "complexity", "ci_profile", "max_builder_attempts", "max_auditor_attempts", "incident_token_cap",
    "auto_apply", "auditor_profile", "default_severity",
)  # fmt: skip


@pytest.mark.parametrize("line", TABLE, ids=lambda line: str(line[0]))
@pytest.mark.parametrize("ruleset", [None, {}], ids=["written out", "omitted"])
def test_a_category_has_the_numbers_of_its_row(line: tuple, ruleset: dict | None) -> None:
    category, complexity, gate, builders, auditors, tokens, minor, auto, profile, severity = line
    spec = phase("a", task_category=category)
    result = compiled(spec, ruleset=ruleset).document
    found = result["phase_strategies"]["a"]
    assert tuple(found[name] for name in FIELDS) == (
        complexity, gate, builders, auditors, tokens, auto, profile, severity,
    )  # fmt: skip
    assert result["category_strategies"][found["task_category"]]["tier_max_minor_issues_multiplier"] == minor
    assert result["tier_strategies"]["t"] == {
        "tier_id": "t",
        "token_cap": 3 * tokens,
        "ci_run_cap": 2,
        "gate_run_cap": 2,
        "max_minor_issues_tolerated": int(minor),
        "max_major_issues_tolerated": 0,
    }
    assert found["max_attempt_tokens"] == tokens // (builders + auditors)
    assert found["ci_max_retries"] == 3
    assert found["audit_after_failures"] == max(1, builders - 1)
    assert found["requires_audit"] is not auto


@pytest.mark.parametrize(("alias", "category"), ALIASES.items())
def test_both_spellings_are_one_category(alias: str, category: str) -> None:
    assert row(phase("a", task_category=alias)) == row(phase("a", task_category=category))


@pytest.mark.parametrize("spelling", ["Security Auth", "SECURITY-AUTH-CHANGE", " security_auth "])
def test_case_and_dashes_do_not_reach_the_lax_row(spelling: str) -> None:
    assert row(phase("a", task_category=spelling))["ci_profile"] == "strict"


@pytest.mark.parametrize(("alias", "category"), ALIASES.items())
def test_a_rule_in_either_spelling_changes_the_one_category(alias: str, category: str) -> None:
    for written in (alias, category):
        ruleset = {"category_defaults": {written: {"incident_token_cap": 77_000}}}
        for asked in (alias, category):
            found = row(phase("a", task_category=asked), ruleset=ruleset)
            assert found["incident_token_cap"] == 77_000
            assert found["ci_profile"] == "strict"  # what the rule omits is inherited


@pytest.mark.parametrize("line", TABLE[:7], ids=lambda line: str(line[0]))
def test_a_risky_category_dropped_from_the_list_keeps_its_row(line: tuple) -> None:
    ruleset: dict = {"high_risk_categories": [], "category_defaults": {}}
    assert row(phase("a", task_category=line[0]), ruleset=ruleset)["ci_profile"] == "strict"


def test_aging_thresholds_follow_the_safety_profile() -> None:
    for profile, runs, tiers in (("normal", 3, 2), ("safety_critical", 2, 1)):
        document = compiled(phase("a"), safety_profile=profile).document
        assert document["minor_issue_aging_runs_threshold"] == runs
        assert document["minor_issue_aging_tiers_threshold"] == tiers


def test_the_default_ruleset_obeys_its_own_schema() -> None:
    from strategy.defaults import default_ruleset

    assert check_ruleset(default_ruleset("p"))["run_token_cap"] == 5_000_000
