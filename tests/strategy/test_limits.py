"""Limits as they are written: 0 is zero, null the default, no limit is `unlimited`; each cap has its own place."""

from __future__ import annotations

from typing import Any

import pytest

from autopack_site.kernel.errors import Invalid
from strategy import lint, validation
from strategy.explain import explain_phase, explain_run, explain_tier
from tests.strategy.builders import compiled, phase, row

OPTIONAL = (
    "build_token_cap",
    "audit_token_cap",
    "incident_cost_cap_usd",
    "max_attempt_cost_usd",
    "max_turns",
)


def ruled(**values: Any) -> dict[str, Any]:
    return {"rules": [{"id": "r", "set": values}]}


def of_docs(**values: Any) -> dict[str, Any]:
    return {"category_defaults": {"docs": values}}


DOCS = phase("a", task_category="docs")


def test_a_strategy_without_the_optional_limits_has_no_trace_of_them() -> None:
    document = compiled(DOCS).document
    assert not document["phase_strategies"]["a"].keys() & {*OPTIONAL, "on_phase_failure", "least_severity"}
    assert not document.keys() & {"debt_aged_issue_limit", "debt_max_phases"}
    assert not document.keys() & {"run_cost_cap_usd", "run_build_token_cap", "run_audit_token_cap", "prices"}
    assert document["tier_strategies"]["t"].keys() == {
        "tier_id", "token_cap", "ci_run_cap", "gate_run_cap", "max_minor_issues_tolerated",
        "max_major_issues_tolerated",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "zero"),
    [
        ("incident_token_cap", 0), ("build_token_cap", 0), ("audit_token_cap", 0), ("incident_cost_cap_usd", 0),
        ("max_turns", 0), ("max_diff_lines", 0), ("max_builder_attempts", 0), ("max_auditor_attempts", 0),
    ],
)  # fmt: skip
def test_zero_is_zero_in_a_row_and_in_a_rule(name: str, zero: int) -> None:
    for ruleset in (of_docs(**{name: zero}), ruled(**{name: zero})):
        assert row(DOCS, ruleset=validation.check_ruleset(ruleset))[name] == 0


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("incident_token_cap", 200_000), ("max_builder_attempts", 2), ("max_auditor_attempts", 1),
        ("build_token_cap", None), ("incident_cost_cap_usd", None), ("max_turns", None), ("max_diff_lines", None),
    ],
)  # fmt: skip
def test_null_is_the_default(name: str, default: Any) -> None:
    ruleset = validation.check_ruleset(of_docs(**{name: None}))
    assert row(DOCS, ruleset=ruleset).get(name) == default
    # of a category of the project's own: what the row of any other says
    ruleset["category_defaults"] = {"*": {name: 3}, "own": {name: None}}
    assert row(phase("a", task_category="own"), ruleset=ruleset).get(name) == 3


def test_null_is_the_default_of_the_run_too() -> None:
    ruleset = validation.check_ruleset(
        {"run_token_cap": None, "run_cost_cap_usd": None, "run_max_duration_minutes": None}
    )
    document = compiled(DOCS, ruleset=ruleset).document
    assert (document["run_token_cap"], document["run_max_duration_minutes"]) == (5_000_000, 120)
    assert "run_cost_cap_usd" not in document


def test_unlimited_is_written_out_in_the_strategy_where_a_number_would_stand() -> None:
    ruleset = validation.check_ruleset(
        {"run_token_cap": "unlimited", **of_docs(incident_token_cap="unlimited", max_turns="unlimited")}
    )
    document = compiled(DOCS, ruleset=ruleset).document
    limits = document["phase_strategies"]["a"]
    assert document["run_token_cap"] == "unlimited"
    assert (limits["incident_token_cap"], limits["max_attempt_tokens"]) == ("unlimited", "unlimited")
    assert "max_turns" not in limits
    assert document["tier_strategies"]["t"]["token_cap"] == "unlimited"
    validation.check("strategy", document)
    # the run's number holds for a phase without one, and any rule for both
    assert row(DOCS, ruleset=of_docs(incident_token_cap="unlimited"))["incident_token_cap"] == 5_000_000
    ruleset["rules"] = [{"id": "r", "set": {"incident_token_cap": 90}}]
    assert row(DOCS, ruleset=ruleset)["max_attempt_tokens"] == 30


@pytest.mark.parametrize(
    "ruleset",
    [
        {"run_max_duration_minutes": "unlimited"}, {"run_max_phases": "unlimited"},
        of_docs(max_builder_attempts="unlimited"), of_docs(tier_ci_run_cap_multiplier="unlimited"),
        {"run_token_cap": "infinite"}, {"run_token_cap": -1}, ruled(run_token_cap="unlimited"),
        ruled(max_turns=None),
    ],
)  # fmt: skip
def test_what_ends_a_run_of_silent_agents_always_has_a_number(ruleset: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        validation.check_ruleset(ruleset)


def test_a_word_that_is_no_limit_is_told_what_was_expected() -> None:
    with pytest.raises(Invalid) as caught:
        validation.check_ruleset_text('{\n "run_token_cap": "none"\n}')
    assert caught.value.problems[0]["msg"] == (
        "line 2: 'none' is not allowed here; expected: a number, null for the default, or unlimited"
    )


def test_caps_of_envelopes_and_money_reach_phase_tier_and_run() -> None:
    ruleset = validation.check_ruleset(
        {
            "run_cost_cap_usd": 2,
            "run_audit_token_cap": 70_000,
            **of_docs(audit_token_cap=20_000, build_token_cap=150_000, incident_cost_cap_usd=0.75),
        }
    )
    document = compiled(DOCS, phase("b", index=1, task_category="docs"), ruleset=ruleset).document
    limits = document["phase_strategies"]["a"]
    assert (limits["build_token_cap"], limits["audit_token_cap"]) == (150_000, 20_000)
    # a share of the cap for each of three attempts
    assert (limits["incident_cost_cap_usd"], limits["max_attempt_cost_usd"]) == (0.75, 0.25)
    assert (document["run_cost_cap_usd"], document["run_audit_token_cap"]) == (2, 70_000)
    tier = document["tier_strategies"]["t"]
    assert (tier["build_token_cap"], tier["audit_token_cap"], tier["cost_cap_usd"]) == (900_000, 120_000, 4.5)
    validation.check("strategy", document)
    # one phase without makes its tier none: what it may use is not known
    mixed = compiled(DOCS, phase("b", index=1, task_category="tests"), ruleset=ruleset).document
    assert mixed["tier_strategies"]["t"].keys() & {"build_token_cap", "audit_token_cap"} == set()


def test_no_phase_is_promised_more_money_than_its_run_has() -> None:
    ruleset = {"run_cost_cap_usd": 0.3, **of_docs(incident_cost_cap_usd=5)}
    limits = row(DOCS, ruleset=ruleset)
    assert (limits["incident_cost_cap_usd"], limits["max_attempt_cost_usd"]) == (0.3, 0.1)
    # a phase that has no cap of its own is bound by its run's
    assert row(phase("a", task_category="tests"), ruleset=ruleset)["incident_cost_cap_usd"] == 0.3


def test_the_strictest_money_cap_wins() -> None:
    rules = [{"id": name, "set": {"incident_cost_cap_usd": cap}} for name, cap in (("x", 3), ("y", 1.5))]
    assert row(DOCS, ruleset={"rules": rules})["incident_cost_cap_usd"] == 1.5


def test_each_new_limit_is_explained_with_the_rule_behind_it() -> None:
    ruleset = {
        "run_cost_cap_usd": 9,
        "prices": [{"model": "m", "from": "2026-01-01", "input_usd": 1, "output_usd": 2}],
        "category_defaults": {"docs": {"audit_token_cap": 500}},
        "rules": [{"id": "cheap", "set": {"incident_cost_cap_usd": 1, "build_token_cap": 900}}],
    }
    document = compiled(DOCS, ruleset=ruleset).document
    run = {row.name: row for row in explain_run(document, ruleset)}
    assert run["run_cost_cap_usd"].rule == "ruleset version None: run_cost_cap_usd"
    assert "prices" in run
    found = {row.name: row for row in explain_phase("a", document, ruleset)}
    assert found["audit_token_cap"].rule == "ruleset version None: category_defaults.docs"
    assert found["build_token_cap"].rule == "ruleset version None: rule cheap"
    assert found["incident_cost_cap_usd"].rule == "ruleset version None: rule cheap"
    assert found["max_attempt_cost_usd"].value == 0.333333
    tier = {row.name: row.rule for row in explain_tier("t", document, ["a"])}
    assert tier["cost_cap_usd"].endswith("incident_cost_cap_usd over 1 phase, lowered by rule cheap")


def test_lint_reads_unlimited_and_zero() -> None:
    assert lint.lint_ruleset({"run_token_cap": "unlimited", **of_docs(incident_token_cap="unlimited")}) == []
    codes = {finding.code for finding in lint.lint_ruleset({"run_token_cap": 0})}
    assert codes == {"nothing-starts"}
    found = lint.lint_ruleset({"run_token_cap": 5, **of_docs(incident_token_cap="unlimited")})
    assert "phase-cap-above-run-cap" in {finding.code for finding in found}


def test_a_phase_whose_attempts_get_too_few_tokens_is_told_before_it_starts() -> None:
    advice = compiled(DOCS, token_cap=2_700).document["advice"]
    assert [(row["code"], row["phase_id"]) for row in advice] == [("attempt-tokens-too-few", "a")]
    assert advice[0]["message"].startswith("An attempt is given 900 tokens of the phase's 2700")
    assert compiled(DOCS, token_cap=3_000).document["advice"] == []
