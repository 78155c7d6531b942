"""The engine: budgets, modes, high risk, options, and one result whatever the order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from strategy.canonical import canonical_bytes, sha256_hex
from strategy.defaults import ALIASES, default_ruleset
from strategy.defaults import CATEGORIES as TABLE
from strategy.engine import compile_strategy
from strategy.errors import TooManyPhases
from strategy.types import BacklogItem, Plan, RunOptions
from strategy.validation import check
from tests.strategy.builders import aged, compiled, hash_under_two_seeds, phase, plan_of, row


def test_run_caps_are_the_published_defaults() -> None:
    document = compiled(phase("a"), phase("b", index=1)).document
    assert document["run_token_cap"] == 5_000_000
    assert document["run_max_phases"] == 25
    assert document["run_max_duration_minutes"] == 120
    assert document["run_max_minor_issues_total"] == 6


def test_the_request_overrides_the_ruleset() -> None:
    document = compiled(phase("a"), token_cap=900_000, max_phases=2, max_duration_minutes=7).document
    assert document["run_token_cap"] == 900_000
    assert document["run_max_phases"] == 2
    assert document["run_max_duration_minutes"] == 7


def test_the_ruleset_overrides_the_defaults() -> None:
    ruleset = {"run_token_cap": 11, "run_max_phases": 3, "run_max_duration_minutes": 9, "ci_max_retries": 5}
    document = compiled(phase("a"), ruleset=ruleset).document
    assert (document["run_token_cap"], document["run_max_phases"]) == (11, 3)
    assert document["run_max_duration_minutes"] == 9
    assert document["phase_strategies"]["a"]["ci_max_retries"] == 5


def test_a_phase_is_never_promised_more_than_its_run_has() -> None:
    found = row(phase("a", task_category="docs"), token_cap=3_000)
    assert found["incident_token_cap"] == 3_000
    assert found["max_attempt_tokens"] == 1_000


def test_a_tier_sums_its_phases() -> None:
    document = compiled(
        phase("a", "one", 0, task_category="docs"),
        phase("b", "one", 1, task_category="security_auth"),
        phase("c", "two", 2, task_category="tests"),
    ).document
    assert document["tier_strategies"]["one"]["token_cap"] == 3 * (200_000 + 800_000)
    assert document["tier_strategies"]["one"]["ci_run_cap"] == 4
    assert document["tier_strategies"]["one"]["max_minor_issues_tolerated"] == 2  # 2 + 0.5, rounded down
    assert document["tier_strategies"]["two"]["token_cap"] == 900_000


def test_safety_critical_tolerates_one_minor_issue_a_phase_and_no_failed_phase() -> None:
    document = compiled(phase("a"), phase("b", index=1), safety_profile="safety_critical").document
    assert document["tier_strategies"]["t"]["max_minor_issues_tolerated"] == 2
    assert document["tier_strategies"]["t"]["max_major_issues_tolerated"] == 0
    assert document["on_phase_failure"] == "stop"
    assert compiled(phase("a")).document["on_phase_failure"] == "continue"


def test_safety_critical_tolerates_no_major_issue_whatever_the_ruleset_says() -> None:
    ruleset = {"category_defaults": {"docs": {"tier_max_major_issues_tolerated": 4}}}
    spec = phase("a", task_category="docs")
    for profile, tolerated in (("normal", 4), ("safety_critical", 0)):
        document = compiled(spec, ruleset=ruleset, safety_profile=profile).document
        assert document["tier_strategies"]["t"]["max_major_issues_tolerated"] == tolerated


def test_decimal_multipliers_are_exact() -> None:
    ruleset = {"category_defaults": {"docs": {"tier_max_minor_issues_multiplier": 0.1}}}
    phases = [phase(f"p{index}", index=index, task_category="docs") for index in range(10)]
    assert (
        compiled(*phases, ruleset=ruleset).document["tier_strategies"]["t"]["max_minor_issues_tolerated"] == 1
    )


def test_too_many_phases_is_a_typed_422() -> None:
    phases = [phase(f"p{index}", index=index) for index in range(3)]
    with pytest.raises(TooManyPhases) as caught:
        compiled(*phases, max_phases=2)
    assert (caught.value.code, caught.value.status) == ("too-many-phases", 422)
    assert caught.value.problems[0]["loc"] == ["body", "phases"]
    assert len(compiled(*phases, max_phases=3).plan.phases) == 3


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"safety_profile": "reckless"}, "safety_profile"),
        ({"run_scope": "galaxy"}, "run_scope"),
        ({"token_cap": -1}, "token_cap"),
        ({"max_phases": -1}, "max_phases"),
        ({"max_duration_minutes": -1}, "max_duration_minutes"),
    ],
)
def test_an_option_that_no_rule_knows_is_refused_by_name(options: dict[str, Any], place: str) -> None:
    with pytest.raises(Invalid) as caught:
        compiled(phase("a"), **options)
    assert [row["loc"] for row in caught.value.problems] == [["body", "run", place]]


def test_incremental_is_taken_as_multi_tier() -> None:
    assert compiled(phase("a"), run_scope="incremental").document["run_scope"] == "multi_tier"


# --- builder modes ---------------------------------------------------------------------------------------


def test_tweak_light_has_two_attempts_a_small_cap_and_the_quick_gate() -> None:
    found = row(phase("a", task_category="feature_scaffolding", builder_mode="tweak_light"))
    assert found["max_builder_attempts"] == 2
    assert found["incident_token_cap"] == 100_000
    assert found["ci_profile"] == "normal"
    assert found["complexity"] == "low"


def test_a_mode_never_loosens_a_risky_category() -> None:
    found = row(phase("a", task_category="security_auth", builder_mode="tweak_light"))
    assert (found["ci_profile"], found["complexity"], found["auto_apply"]) == ("strict", "high", False)


@pytest.mark.parametrize(
    ("mode", "profile"), [("refactor_heavy", "refactor_review"), ("schema_heavy", "schema_review")]
)
def test_heavy_modes_are_high_strict_and_have_few_attempts(mode: str, profile: str) -> None:
    found = row(phase("a", task_category="tests", builder_mode=mode))
    assert (found["complexity"], found["ci_profile"]) == ("high", "strict")
    assert found["max_builder_attempts"] == 2
    assert found["auditor_profile"] == profile


def test_heavy_modes_advise_single_tier_and_scaffolding_advises_splitting() -> None:
    document = compiled(
        phase("a", builder_mode="refactor_heavy"), phase("b", index=1, builder_mode="scaffolding_heavy")
    ).document
    advice = [(row["phase_id"], row["code"]) for row in document["advice"]]
    assert advice == [("a", "prefer-single-tier"), ("b", "consider-splitting")]


def test_scaffolding_heavy_is_at_least_medium() -> None:
    assert row(phase("a", task_category="docs", builder_mode="scaffolding_heavy"))["complexity"] == "medium"


# --- high risk -------------------------------------------------------------------------------------------


def test_a_category_added_to_the_high_risk_list_is_hardened() -> None:
    for ruleset in (
        {"high_risk_categories": ["payments"]},
        {**default_ruleset("p"), "high_risk_categories": ["payments", "docs"]},
    ):
        for category in ruleset["high_risk_categories"]:
            found = row(phase("a", task_category=category), ruleset=ruleset)
            assert found["high_risk"] is True
            assert (found["complexity"], found["ci_profile"]) == ("high", "strict")
            assert (found["auto_apply"], found["requires_audit"]) == (False, True)
            assert found["max_builder_attempts"] == 2
            assert found["auditor_profile"] == "general_review"
            assert found["default_severity"] == "major"


def test_only_a_rule_of_its_own_lets_a_risky_category_apply_without_audit() -> None:
    ruleset = {"category_defaults": {"schema_change": {"auto_apply": True}}}
    assert row(phase("a", task_category="schema_change"), ruleset=ruleset)["requires_audit"] is False


def test_a_declared_low_complexity_does_not_lower_a_high_risk_phase() -> None:
    found = row(phase("a", task_category="schema_change", complexity="low"))
    assert found["complexity"] == "high"


def test_what_patches_may_hold_comes_from_the_ruleset_and_its_rows() -> None:
    nothing = {"binary": False, "symlinks": False, "submodules": False, "protected_paths": False}
    ruleset = {"allow": {"binary": True}, "category_defaults": {"docs": {"allow": {"symlinks": True}}}}
    assert row(phase("a"))["allowed"] == nothing
    assert row(phase("a"), ruleset=ruleset)["allowed"] == {**nothing, "binary": True}
    found = row(phase("a", task_category="docs"), ruleset=ruleset)
    assert found["allowed"] == {**nothing, "binary": True, "symlinks": True}


def test_the_orchestrator_review_is_the_refactor_review() -> None:
    ruleset = {"category_defaults": {"docs": {"auditor_profile": "orchestrator_review"}}}
    assert row(phase("a", task_category="docs"), ruleset=ruleset)["auditor_profile"] == "refactor_review"


def test_an_alias_of_the_project_leads_to_its_category_but_never_away_from_a_published_one() -> None:
    ruleset = {"category_map": {"login": "security_auth", "security_auth": "docs"}}
    assert row(phase("a", task_category="login"), ruleset=ruleset)["task_category"] == "security_auth_change"
    assert row(phase("a", task_category="security_auth"), ruleset=ruleset)["ci_profile"] == "strict"


# --- the classified plan ---------------------------------------------------------------------------------


def test_the_plan_comes_back_with_what_was_missing_and_with_what_was_said_untouched() -> None:
    result = compiled(phase("a", task_category="schema_change", complexity="low"), phase("b", index=1))
    first, second = result.plan.phases
    assert (first.task_category, first.complexity, first.builder_mode) == (
        "schema_change",
        "low",
        "schema_heavy",
    )
    assert (second.task_category, second.complexity, second.builder_mode) == ("general", "medium", None)


def test_the_document_obeys_the_published_schema_and_its_bytes_and_hash_belong_together() -> None:
    backlog = tuple(aged(f"k{number}", f"src/{number}.py") for number in range(8))
    result = compiled(phase("a"), phase("b", "u", 1, task_category="docs"), backlog=backlog)
    check("strategy", result.document)
    assert canonical_bytes(result.document) == result.canonical
    assert sha256_hex(result.canonical) == result.sha256


# --- one result ------------------------------------------------------------------------------------------

CATEGORIES = [None, "own", *TABLE, *ALIASES]
PHASES = st.lists(
    st.builds(
        lambda tier, category, mode, complexity, name: (tier, category, mode, complexity, name),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from([name for name in CATEGORIES if name != "*"]),
        st.sampled_from([None, "tweak_light", "refactor_heavy", "schema_heavy", "scaffolding_heavy", "own"]),
        st.sampled_from([None, "low", "medium", "high"]),
        st.sampled_from(["Step", "Fix login docs", "Write tests", "Rewrite everything", "typo"]),
    ),
    max_size=8,
)
BACKLOG = st.lists(
    st.builds(
        BacklogItem,
        issue_key=st.text("abcdef", min_size=1, max_size=3),
        category=st.sampled_from(["docs", "security_auth", "own"]),
        base_severity=st.sampled_from(["minor", "major"]),
        age_in_runs=st.integers(0, 6),
        age_in_tiers=st.integers(0, 4),
        status=st.sampled_from(["open", "needs_cleanup", "resolved", "reopened"]),
        paths=st.lists(st.sampled_from(["a", "a/b", "a/c", "d", "e/f", "../x", "g*"]), max_size=3).map(tuple),
    ),
    max_size=14,
    unique_by=lambda item: item.issue_key,
)


@settings(max_examples=60, deadline=None)
@given(PHASES, BACKLOG, st.randoms(use_true_random=False))
def test_order_of_phases_backlog_and_keys_changes_no_byte(
    rows: list, backlog: list[BacklogItem], chance: random.Random
) -> None:
    phases = [
        phase(
            f"p{index}",
            tier,
            index,
            task_category=category,
            builder_mode=mode,
            complexity=complexity,
            name=name,
        )
        for index, (tier, category, mode, complexity, name) in enumerate(rows)
    ]
    plan = plan_of(*phases)
    shuffled_phases, shuffled_tiers, shuffled_backlog = list(plan.phases), list(plan.tiers), list(backlog)
    for values in (shuffled_phases, shuffled_tiers, shuffled_backlog):
        chance.shuffle(values)
    first = _compiled(default_ruleset("p"), backlog, plan)
    second = _compiled(
        _shuffled(default_ruleset("p"), chance),
        shuffled_backlog,
        Plan(tuple(shuffled_tiers), tuple(shuffled_phases)),
    )
    assert first.canonical == second.canonical
    assert first.plan == second.plan
    check("strategy", first.document)
    assert len(first.plan.phases) <= len(phases) + 5


def test_two_processes_with_different_hash_seeds_give_equal_bytes() -> None:
    program = (
        "from tests.strategy.builders import aged, compiled, phase\n"
        "b = tuple(aged(f'k{n}', f'src/{n}.py', f'lib/{n % 7}') for n in range(30))\n"
        "p = (phase('a', name='Fix login'), phase('b', 'u', 1, scope=('x', 'y')))\n"
        "print(compiled(*p, backlog=b).sha256)"
    )
    assert len(hash_under_two_seeds(program)) == 1


def test_any_change_of_the_rules_changes_the_hash() -> None:
    changed = {**default_ruleset("p"), "protected_paths": ["ci/**"]}
    assert compiled(phase("a")).sha256 != compiled(phase("a"), ruleset=changed).sha256


def _compiled(ruleset: dict[str, Any], backlog: list[BacklogItem], plan: Plan) -> Any:
    return compile_strategy(ruleset, backlog, plan, run_id="r", project_id="p", options=RunOptions())


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: _shuffled(value[key], chance) for key in keys}
    return value
