"""Each value of a strategy is explained by the rule that gave it."""

from __future__ import annotations

from typing import Any

import pytest

from strategy.defaults import default_ruleset
from strategy.engine import compile_strategy
from strategy.explain import explain_phase, explain_run, explain_tier
from strategy.types import BacklogItem, PhaseSpec, Plan, RunOptions, TierSpec


def compiled(
    *,
    ruleset: dict[str, Any] | None = None,
    backlog: tuple[BacklogItem, ...] = (),
    options: RunOptions | None = None,
    without: str = "",
    **phase: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    rules = {**default_ruleset("p"), **(ruleset or {})}
    rules.pop(without, None)
    fields = {
        "phase_id": "a",
        "tier_id": "t",
        "phase_index": 1,
        "name": "x",
        "task_category": "docs",
        **phase,
    }
    plan = Plan((TierSpec("t", 1, "T"),), (PhaseSpec(**fields),))
    done = compile_strategy(rules, backlog, plan, run_id="r", project_id="p", options=options or RunOptions())
    return done.document, rules


def rule(values: Any, name: str) -> str:
    return next(item.rule for item in values if item.name == name)


def test_every_value_that_a_phase_is_held_to_is_explained() -> None:
    document, rules = compiled()
    row = document["phase_strategies"]["a"]
    told = {item.name: item.value for item in explain_phase("a", document, rules)}
    assert told == {
        name: value for name, value in row.items() if name not in ("scope", "because", "by_diff_size")
    }


def test_every_cap_of_a_tier_is_explained() -> None:
    document, _ = compiled()
    told = {item.name: item.value for item in explain_tier("t", document, ["a"])}
    row = document["tier_strategies"]["t"]
    assert told == {name: row[name] for name in row if name not in ("tier_id", "gate_run_cap")}


def test_a_category_that_the_ruleset_says_is_its() -> None:
    document, rules = compiled()
    assert rule(explain_phase("a", document, rules), "incident_token_cap") == (
        "ruleset version 1: category_defaults.docs"
    )


def test_a_category_that_the_ruleset_omits_is_the_published_one() -> None:
    document, rules = compiled(ruleset={"category_defaults": {}})
    assert (
        rule(explain_phase("a", document, rules), "incident_token_cap")
        == "the published default of 2026-11 for category docs"
    )


def test_the_other_spelling_of_a_category_is_named_as_the_ruleset_has_it() -> None:
    rows = {"schema_change": {"incident_token_cap": 900_000}}
    document, rules = compiled(ruleset={"category_defaults": rows}, task_category="schema_contract_change")
    assert rule(explain_phase("a", document, rules), "incident_token_cap") == (
        "ruleset version 1: category_defaults.schema_change"
    )


def test_a_category_without_a_row_has_that_of_any_other() -> None:
    document, rules = compiled(task_category="odd")
    assert rule(explain_phase("a", document, rules), "auto_apply") == "ruleset version 1: category_defaults.*"


def test_a_category_of_the_rulesets_own_that_is_high_risk_is_hardened() -> None:
    document, rules = compiled(ruleset={"high_risk_categories": ["odd"]}, task_category="odd")
    assert rule(explain_phase("a", document, rules), "ci_profile") == (
        "hardened: ruleset version 1 lists odd as high risk"
    )


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("tweak_light", "incident_token_cap"),
        ("schema_heavy", "ci_profile"),
        ("refactor_heavy", "auditor_profile"),
    ],
)
def test_a_value_that_a_mode_narrowed_says_so(mode: str, name: str) -> None:
    document, rules = compiled(builder_mode=mode)
    assert rule(explain_phase("a", document, rules), name) == f"narrowed by builder mode {mode}"


def test_a_phase_is_promised_no_more_than_its_run_has() -> None:
    document, rules = compiled(options=RunOptions(token_cap=1000))
    assert (
        rule(explain_phase("a", document, rules), "incident_token_cap") == "no more than the run's token cap"
    )


def test_what_was_classified_says_by_what() -> None:
    document, rules = compiled(task_category=None, name="Fix a typo", scope=("README.md",))
    assert rule(explain_phase("a", document, rules), "task_category").startswith(
        "category docs: the text says"
    )


def test_what_the_plan_said_is_the_plans() -> None:
    document, rules = compiled(complexity="medium")
    told = explain_phase("a", document, rules)
    assert rule(told, "complexity") == rule(told, "task_category") == "the plan"


def test_a_run_value_that_is_not_the_rulesets_was_asked_for() -> None:
    document, rules = compiled(options=RunOptions(token_cap=1000, safety_profile="safety_critical"))
    told = explain_run(document, rules)
    assert rule(told, "run_token_cap") == rule(told, "safety_profile") == "asked for when the run was started"
    assert rule(told, "run_max_phases") == "ruleset version 1: run_max_phases"
    assert rule(told, "on_phase_failure") == "safety profile safety_critical"


def test_a_run_value_that_the_ruleset_omits_is_the_published_one() -> None:
    document, rules = compiled(without="run_max_phases")
    assert rule(explain_run(document, rules), "run_max_phases") == "the published default of 2026-11"


def test_a_safety_critical_tier_says_that_it_tolerates_less() -> None:
    document, _ = compiled(options=RunOptions(safety_profile="safety_critical"))
    told = explain_tier("t", document, ["a"])
    assert rule(told, "max_major_issues_tolerated") == "safety_critical tolerates none"


def test_inserted_debt_of_a_high_risk_category_says_why_it_is_strict() -> None:
    aged = tuple(
        BacklogItem(f"k{n}", "security_auth_change", "major", 9, 9, "needs_cleanup", (f"src/{n}.py",))
        for n in range(9)
    )
    document, rules = compiled(backlog=aged)
    phase_id = next(name for name in document["phase_strategies"] if name != "a")
    told = explain_phase(phase_id, document, rules)
    assert rule(told, "ci_profile") == rule(told, "high_risk") == "it cleans up debt of a high-risk category"


def test_a_value_is_shown_in_words() -> None:
    document, rules = compiled(ruleset={"protected_paths": ["b", "a"]})
    told = {
        item.name: item.text for item in [*explain_run(document, rules), *explain_phase("a", document, rules)]
    }
    assert (told["protected_paths"], told["severity_upgrades"]) == ("a, b", "none")
    assert told["allowed"] == "binary: no, protected_paths: no, submodules: no, symlinks: no"
    assert (told["auto_apply"], told["incident_token_cap"]) == ("yes", "200000")


def test_a_strategy_from_before_origins_were_recorded_says_so_and_guesses_nothing() -> None:
    document, rules = compiled()
    del document["origins"]
    for item in explain_phase("a", document, rules):
        assert item.name in ("max_attempt_tokens", "audit_after_failures", "requires_audit", "high_risk") or (
            "not recorded" in item.rule
        )
    assert {item.rule.split(":")[0] for item in explain_run(document, rules)} == {"not recorded"}


def test_what_a_diffs_size_would_change_is_explained_by_its_rule() -> None:
    rule_of_size = {"id": "large", "when": {"diff_lines_at_least": 50}, "set": {"ci_profile": "strict"}}
    document, rules = compiled(ruleset={"rules": [rule_of_size]})
    last = explain_phase("a", document, rules)[-1]
    assert (last.name, last.value["ci_profile"]) == ("from 50 changed lines", "strict")
    assert last.rule == "ruleset version 1: rule large"
