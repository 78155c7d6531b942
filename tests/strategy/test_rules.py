"""Rules with conditions: when they hold, that the strictest wins, and who is named for it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from autopack_site.kernel.errors import Invalid
from strategy import published
from strategy.defaults import CATEGORIES, default_ruleset
from strategy.explain import explain_phase, explain_run
from strategy.published import file_of
from strategy.rules import read_rules
from strategy.validation import check, check_ruleset, check_ruleset_text, schema
from tests.strategy.builders import aged, compiled, phase, row

DOCS = phase("a", task_category="docs", scope=("docs/**",))
HASHES = {"2026-11": "8c38d65f7db02573255bc2df7b6304f73800bf1b400873c8220661e601ab446b"}


def ruled(*rules: dict[str, Any], **parts: Any) -> dict[str, Any]:
    given = [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)]
    return check_ruleset({"defaults": "2026-11", "rules": given, **parts})


def test_a_rule_sets_what_it_says_of_the_phases_that_it_matches() -> None:
    ruleset = ruled(
        {"when": {"category": ["docs"]}, "set": {"ci_profile": "strict", "max_builder_attempts": 1}}
    )
    document = compiled(DOCS, phase("b", index=1), ruleset=ruleset).document
    assert document["phase_strategies"]["a"]["ci_profile"] == "strict"
    assert document["phase_strategies"]["a"]["max_builder_attempts"] == 1
    assert document["phase_strategies"]["b"]["ci_profile"] == "normal"
    assert document["origins"]["phases"]["a"]["ci_profile"] == "rule r0"
    check("strategy", document)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({}, True),
        ({"category": ["Docs"]}, True),
        ({"category": ["tests", "docs"]}, True),
        ({"category": ["tests"]}, False),
        ({"complexity": ["low"]}, True),
        ({"complexity": ["medium", "high"]}, False),
        ({"paths": ["docs/guide.md"]}, True),
        ({"paths": ["DOCS"]}, True),
        ({"paths": ["src/**", "*.md"]}, False),
        ({"safety_profile": ["normal"]}, True),
        ({"safety_profile": ["safety_critical"]}, False),
        ({"backlog": {"open_at_least": 2}}, True),
        ({"backlog": {"open_at_least": 3}}, False),
        ({"backlog": {"aged_at_least": 2, "major_at_least": 1}}, True),
        ({"backlog": {"major_at_least": 2}}, False),
        ({"category": ["docs"], "safety_profile": ["safety_critical"]}, False),
    ],
)
def test_a_rule_holds_when_every_condition_does(when: dict[str, Any], holds: bool) -> None:
    ruleset = ruled({"when": when, "set": {"max_builder_attempts": 1}})
    backlog = (aged("k", "x"), aged("m", "y", base_severity="major"), aged("gone", "z", status="resolved"))
    assert (row(DOCS, ruleset=ruleset, backlog=backlog)["max_builder_attempts"] == 1) is holds


def test_a_phase_without_a_scope_may_touch_every_path() -> None:
    ruleset = ruled({"when": {"paths": ["src/payments/**"]}, "set": {"auto_apply": False}})
    assert row(phase("a"), ruleset=ruleset)["requires_audit"] is True


def test_the_strictest_wins_and_not_the_last() -> None:
    strict, lax = {"set": {"incident_token_cap": 1000}}, {"set": {"incident_token_cap": 2000}}
    for pair in ((strict, lax), (lax, strict)):
        assert row(DOCS, ruleset=ruled(*pair))["incident_token_cap"] == 1000


def test_a_rule_can_not_loosen() -> None:
    spec = phase("a", task_category="security_auth")
    lax = {
        "auto_apply": True, "ci_profile": "normal", "complexity": "low", "max_builder_attempts": 20,
        "incident_token_cap": 10**9, "allow": {"binary": True}, "run_token_cap": 10**9, "run_scope": "multi_tier",
    }  # fmt: skip
    with_rule = compiled(spec, ruleset=ruled({"set": lax})).document
    without = compiled(spec, ruleset=ruled()).document
    for name in ("phase_strategies", "tier_strategies", "run_token_cap", "run_scope", "origins"):
        assert with_rule[name] == without[name]


def test_what_a_rule_sets_of_the_run_holds_when_it_matches_one_phase() -> None:
    rule = {
        "when": {"category": ["docs"]},
        "set": {
            "run_token_cap": 9000, "run_scope": "single_tier", "run_max_minor_issues_total": 1,
            "protected_paths": ["ci/**"], "severity_upgrades": ["typo"], "minor_issue_aging_runs_threshold": 1,
        },
    }  # fmt: skip
    ruleset = ruled(rule, protected_paths=["a/**"])
    document = compiled(phase("b"), DOCS, ruleset=ruleset, token_cap=50_000).document
    assert (document["run_token_cap"], document["run_scope"]) == (9000, "single_tier")
    assert (document["run_max_minor_issues_total"], document["protected_paths"]) == (1, ["a/**", "ci/**"])
    assert document["severity_upgrades"] == {"typo": "major"}
    assert document["minor_issue_aging_runs_threshold"] == 1
    assert document["phase_strategies"]["b"]["incident_token_cap"] == 9000
    told = {item.name: item.rule for item in explain_run(document, ruleset)}
    assert told["run_token_cap"] == "ruleset version None: rule r0"
    other = compiled(phase("b", scope=("x",)), ruleset=ruleset).document
    assert other["run_token_cap"] == 5_000_000


def test_explain_names_every_rule_that_sets_the_value_and_no_other() -> None:
    ruleset = ruled(
        {"set": {"incident_token_cap": 1000, "allow": {"binary": False}}},
        {"set": {"incident_token_cap": 1000}},
        {"set": {"incident_token_cap": 2000}},
        allow={"binary": True},
    )
    document = compiled(DOCS, ruleset=ruleset).document
    told = {item.name: item.rule for item in explain_phase("a", document, ruleset)}
    assert told["incident_token_cap"].endswith(": rule r0, r1")
    assert told["allowed"].endswith(": rule r0")
    assert told["ci_profile"] == "the published default of 2026-11 for category docs"


def test_taking_attempts_away_makes_those_left_no_larger() -> None:
    before = row(DOCS, ruleset=ruled())["max_attempt_tokens"]
    assert row(DOCS, ruleset=ruled({"set": {"max_builder_attempts": 1}}))["max_attempt_tokens"] == before


def test_rules_on_the_size_of_a_diff_become_rows_each_as_strict_as_those_before() -> None:
    ruleset = ruled(
        {"when": {"diff_lines_at_least": 500}, "set": {"auto_apply": False}},
        {"when": {"diff_lines_at_least": 100}, "set": {"ci_profile": "strict"}},
        {"when": {"diff_lines_at_least": 900}, "set": {"ci_profile": "strict"}},
    )
    found = row(DOCS, ruleset=ruleset)
    assert (found["ci_profile"], found["requires_audit"]) == ("normal", False)
    assert found["by_diff_size"] == [
        {"diff_lines": 100, "ci_profile": "strict", "requires_audit": False, "auditor_profile": None,
         "rules": ["r1"]},
        {"diff_lines": 500, "ci_profile": "strict", "requires_audit": True, "auditor_profile": "general_review",
         "rules": ["r0"]},
    ]  # fmt: skip


def test_auditor_profiles_are_ranked_by_the_ruleset() -> None:
    rule = {"set": {"auditor_profile": "payments_review"}}
    spec = phase("a", task_category="security_auth")
    assert row(spec, ruleset=ruled(rule))["auditor_profile"] == "security_review"
    ranked = ruled(rule, auditor_profile_order=["security_review", "payments_review"])
    assert row(spec, ruleset=ranked)["auditor_profile"] == "payments_review"


# --- texts -----------------------------------------------------------------------------------------------

TEXTS = [
    ("rules:\n- set: {ci_profile: strict}\n", 2, "rules[0].id", "id is required"),
    ("rules:\n- id: a\n  set: {}\n", 3, "rules[0].set", "non-empty"),
    ("rules:\n- id: a\n  set:\n    ci_profile: odd\n", 4, "rules[0].set.ci_profile", "'normal', 'strict'"),
    ("rules:\n- id: a\n  set: {auto_aply: false}\n", 3, "rules[0].set.auto_aply", "known: allow, "),
    ("rules:\n- id: a\n  when: {category: docs}\n  set: {auto_apply: false}\n", 3, "rules[0].when.category", "array"),
    ("rules:\n- id: a\n  set: {auto_apply: false}\n- id: a\n  set: {auto_apply: false}\n", 4, "rules[1].id", "twice"),
    ("rules:\n- id: a\n  when:\n    paths: [/x]\n  set: {auto_apply: false}\n", 4, "rules[0].when.paths[0]",
     "relative"),
    ("rules:\n- id: a\n  when: {diff_lines_at_least: 9}\n  set: {run_token_cap: 1}\n", 4,
     "rules[0].set.run_token_cap", "expected: auditor_profile, auto_apply, ci_profile"),
    ("defaults: '1999-01'\n", 1, "defaults", "'2026-11'"),
    ("category_defaults:\n  docs: {}\n  'a$b': {}\n", 3, "category_defaults.a$b", "not allowed here"),
]  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True], ids=["yaml", "json"])
@pytest.mark.parametrize("line", TEXTS, ids=lambda line: line[2])
def test_errors_name_line_and_field_and_what_was_expected(
    line: tuple[str, int, str, str], as_json: bool
) -> None:
    from strategy.admin.texts import problems_of

    text, number, place, expected = line
    if as_json:
        import yaml

        text = json.dumps(yaml.safe_load(text), indent=1)
    with pytest.raises(Invalid) as caught:
        check_ruleset_text(text)
    found = problems_of(caught.value)[0]
    assert found.place == place
    assert expected in found.message
    assert found.line.isdecimal()
    if not as_json:
        assert int(found.line) == number


def test_a_key_that_stands_twice_in_json_is_found_on_its_line() -> None:
    text = '{\n "run_token_cap": 1,\n "run_token_cap": 2,\n "rules": [{"id": "run_token_cap",\n "set": {}}]}'
    with pytest.raises(Invalid) as caught:
        check_ruleset_text(text)
    assert caught.value.problems[0]["msg"].startswith("line 3: ")


# --- defaults by name ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", published.NAMES)
def test_published_defaults_never_change_under_their_name(name: str) -> None:
    assert hashlib.sha256(file_of(name).read_bytes()).hexdigest() == HASHES[name]
    assert sorted(published.published(name).ruleset["category_defaults"]) == sorted(CATEGORIES)


def test_the_schema_knows_the_names() -> None:
    assert schema("ruleset")["properties"]["defaults"]["enum"] == list(published.NAMES)


def test_a_ruleset_keeps_the_defaults_that_it_names_when_others_become_the_present(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    changed = json.loads(file_of("2026-11").read_text())
    changed["ruleset"]["run_token_cap"] = 1
    changed["ruleset"]["category_defaults"]["docs"]["max_builder_attempts"] = 9
    (tmp_path / "defaults_2027-01.json").write_text(json.dumps(changed))
    real = file_of
    monkeypatch.setattr(published, "NAMES", ("2026-11", "2027-01"))
    monkeypatch.setattr(
        published,
        "file_of",
        lambda name: tmp_path / f"defaults_{name}.json" if name == "2027-01" else real(name),
    )
    try:
        assert read_rules({"defaults": "2027-01"}).run_token_cap == 1
        assert row(DOCS, ruleset={"defaults": "2027-01"})["max_builder_attempts"] == 9
        for old in ({"defaults": "2026-11"}, {}):
            assert read_rules(old).run_token_cap == 5_000_000
            assert row(DOCS, ruleset=old)["max_builder_attempts"] == 2
    finally:
        published.published.cache_clear()


def test_the_default_ruleset_names_its_defaults() -> None:
    assert check_ruleset(default_ruleset("p"))["defaults"] == published.PRESENT


def test_a_ruleset_file_of_the_contracts_shape_loads_unchanged() -> None:
    own = ("defaults", "ci_max_retries", "allow", "debt_cleanup")
    document = {name: value for name, value in default_ruleset("p").items() if name not in own}
    assert check_ruleset_text(json.dumps(document)) == document
    assert set(document) == {
        "version", "project_id", "default_safety_profile", "default_run_scope", "safety_profiles",
        "category_defaults", "high_risk_categories", "run_token_cap", "run_max_phases", "run_max_duration_minutes",
    }  # fmt: skip


def test_a_rule_says_of_which_phases_a_failure_ends_the_run() -> None:
    ruleset = ruled({"when": {"category": ["docs"]}, "set": {"on_phase_failure": "stop"}})
    document = compiled(DOCS, phase("b", scope=("x",)), ruleset=ruleset).document
    check("strategy", document)
    rows = document["phase_strategies"]
    assert (rows["a"]["on_phase_failure"], "on_phase_failure" in rows["b"]) == ("stop", False)
    assert document["on_phase_failure"] == "continue", "of the run as a whole"
    told = {item.name: item.rule for item in explain_phase("a", document, ruleset)}
    assert told["on_phase_failure"] == "ruleset version None: rule r0"
    critical = compiled(DOCS, ruleset=ruleset, safety_profile="safety_critical").document
    assert "on_phase_failure" not in critical["phase_strategies"]["a"], "the run's own is as strict"


def test_a_rule_says_of_which_phases_all_issues_count_as_major() -> None:
    ruleset = ruled({"when": {"category": ["docs", "security_auth"]}, "set": {"default_severity": "major"}})
    risky = phase("b", task_category="security_auth")
    document = compiled(DOCS, risky, phase("c", scope=("x",)), ruleset=ruleset).document
    check("strategy", document)
    rows = document["phase_strategies"]
    assert [rows[name].get("least_severity") for name in "abc"] == ["major", "major", None]
    assert [rows[name]["default_severity"] for name in "abc"] == ["major", "major", "minor"]
    for name in "ab":  # in b it is not the category's severity, which is that of issues of the category
        told = {item.name: item.rule for item in explain_phase(name, document, ruleset)}
        assert told["least_severity"] == "ruleset version None: rule r0"


def test_rules_bring_debt_cleanup_sooner_and_more_of_it_and_never_less() -> None:
    backlog = tuple(aged(f"k{number}", f"x/{number}") for number in range(4))

    def cleaned(*rules: dict[str, Any], **parts: Any) -> tuple[int, dict[str, Any]]:
        document = compiled(DOCS, ruleset=ruled(*rules, **parts), backlog=backlog).document
        check("strategy", document)
        return len(document["phase_strategies"]) - 1, document

    assert cleaned()[0] == 0, "5 may be carried"
    in_debt = {"when": {"backlog": {"aged_at_least": 4}}, "set": {"debt_aged_issue_limit": 3}}
    count, document = cleaned(in_debt)
    assert (count, document["debt_aged_issue_limit"]) == (4, 3)
    assert document["run_max_minor_issues_total"] == 3, "what is added to clean up raises no cap"
    assert document["origins"]["run"]["debt_aged_issue_limit"] == "rule r0"
    ruleset = ruled(in_debt)
    told = {item.name: item.rule for item in explain_run(document, ruleset)}
    assert told["debt_aged_issue_limit"] == "ruleset version None: rule r0"
    assert told["run_max_minor_issues_total"] == "3 for each of 1 phases"
    few = {"debt_cleanup": {"max_phases": 1}}
    more, fewer = {"set": {"debt_max_phases": 3}}, {"set": {"debt_max_phases": 0}}
    assert cleaned(in_debt, **few)[0] == 1
    assert cleaned(in_debt, more, fewer, **few)[0] == 3
    count, document = cleaned(in_debt, fewer)
    assert (count, "debt_max_phases" in document) == (4, False)


@pytest.mark.parametrize("name", ["builder_mode", "prices", "safety_profile"])
def test_what_has_no_order_of_strictness_no_rule_sets(name: str) -> None:
    with pytest.raises(Invalid):
        check_ruleset(ruled({"set": {name: "x"}}))
