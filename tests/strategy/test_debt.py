"""debt_cleanup phases: when, how many, over which paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategy.debt import usable_paths
from strategy.explain import explain_phase
from tests.strategy.builders import aged, compiled, phase

LIMIT = 5


def cleanup(result):
    return [spec for spec in result.plan.phases if spec.task_category == "debt_cleanup"]


def many(count: int, **fields) -> tuple:
    return tuple(aged(f"k{number:02}", f"src/{number:02}.py", **fields) for number in range(count))


def test_aged_issues_within_the_limit_insert_nothing() -> None:
    assert cleanup(compiled(phase("a"), backlog=many(LIMIT))) == []
    assert len(cleanup(compiled(phase("a"), backlog=many(LIMIT + 1)))) == 5


def test_the_phases_are_medium_bounded_audited_and_in_a_last_tier_of_their_own() -> None:
    result = compiled(phase("a", index=7), backlog=many(6))
    spec = cleanup(result)[0]
    assert (spec.phase_id, spec.tier_id, spec.phase_index) == ("debt-cleanup-1", "debt-cleanup", 8)
    assert (spec.complexity, spec.scope, spec.depends_on) == ("medium", ("src/00.py",), ())
    assert result.plan.tiers[-1].tier_id == "debt-cleanup"
    found = result.document["phase_strategies"]["debt-cleanup-1"]
    assert (found["incident_token_cap"], found["requires_audit"]) == (400_000, True)
    assert result.document["run_max_minor_issues_total"] == 3 * 6


@pytest.mark.parametrize("counter", ["runs", "tiers"])
def test_a_threshold_of_a_rule_cleans_up_what_the_same_threshold_of_the_profile_does(counter: str) -> None:
    name = f"minor_issue_aging_{counter}_threshold"
    backlog = many(7, **{"age_in_runs": 0, "age_in_tiers": 0, f"age_in_{counter}": 1})
    profile = compiled(
        phase("a"), ruleset={"safety_profiles": {"normal": {name: 1}}}, backlog=backlog
    ).document
    result = compiled(phase("a"), ruleset={"rules": [{"id": "soon", "set": {name: 1}}]}, backlog=backlog)
    assert result.document[name] == profile[name] == 1
    assert len(cleanup(result)) == 5
    assert cleanup(compiled(phase("a"), backlog=backlog)) == []
    cleaned = {key: row.get("cleans_up") for key, row in result.document["phase_strategies"].items()}
    assert cleaned == {key: row.get("cleans_up") for key, row in profile["phase_strategies"].items()}
    # a rule never loosens: what it adds to the run brings no issues more
    assert profile["run_max_minor_issues_total"] == 3 * 6
    assert result.document["run_max_minor_issues_total"] == 3 * 1


def test_rules_count_aged_issues_by_the_profile_whatever_thresholds_they_set() -> None:
    rules = [
        {"id": "soon", "set": {"minor_issue_aging_runs_threshold": 1}},
        {"id": "in-debt", "when": {"backlog": {"aged_at_least": 1}}, "set": {"run_token_cap": 9}},
    ]
    young = compiled(phase("a"), ruleset={"rules": rules}, backlog=many(7, age_in_runs=2)).document
    assert young["run_token_cap"] != 9
    assert len(young["phase_strategies"]) == 6
    old = compiled(phase("a"), ruleset={"rules": rules}, backlog=many(7, age_in_runs=3)).document
    assert old["run_token_cap"] == 9


def test_issues_with_overlapping_paths_share_a_phase() -> None:
    backlog = (
        aged("a", "src"), aged("b", "src/x.py"), aged("c", "src/deep/y.py", "lib/z.py"),
        aged("d", "lib/z.py"), aged("e", "docs/a.md"), aged("f", "srcs/x.py"),
    )  # fmt: skip
    scopes = [spec.scope for spec in cleanup(compiled(phase("a"), backlog=backlog))]
    assert scopes == [("lib/z.py", "src", "src/deep/y.py", "src/x.py"), ("docs/a.md",), ("srcs/x.py",)]


def test_the_run_keeps_its_phase_cap_and_says_what_waits() -> None:
    result = compiled(phase("a"), backlog=many(9), max_phases=3)
    assert len(cleanup(result)) == 2
    assert [row["code"] for row in result.document["advice"]] == ["debt-left"]
    assert cleanup(compiled(phase("a"), backlog=many(9), max_phases=1)) == []


@pytest.mark.parametrize(
    ("fields", "is_aged"),
    [
        ({"age_in_runs": 2}, False),
        ({"age_in_runs": 3}, True),
        ({"age_in_runs": 0, "age_in_tiers": 1}, False),
        ({"age_in_runs": 0, "age_in_tiers": 2}, True),
        ({"age_in_runs": 0, "status": "needs_cleanup"}, True),
        ({"age_in_runs": 9, "status": "resolved"}, False),
        ({"age_in_runs": 9, "status": "reopened"}, True),
    ],
)
def test_an_issue_is_aged_from_its_threshold_on(fields: dict, is_aged: bool) -> None:
    assert bool(cleanup(compiled(phase("a"), backlog=many(6, **fields)))) is is_aged


def test_safety_critical_ages_sooner() -> None:
    backlog = many(6, age_in_runs=2)
    assert cleanup(compiled(phase("a"), backlog=backlog)) == []
    assert len(cleanup(compiled(phase("a"), backlog=backlog, safety_profile="safety_critical"))) == 5


def test_risky_issues_are_never_cleaned_up_without_audit_and_strict_gate() -> None:
    ruleset = {"category_defaults": {"debt_cleanup": {"auto_apply": True}}}
    harmless = compiled(phase("a"), backlog=many(6), ruleset=ruleset).document["phase_strategies"]
    risky = compiled(phase("a"), backlog=many(6, category="security_auth"), ruleset=ruleset).document
    assert harmless["debt-cleanup-1"]["auto_apply"] is True
    found = risky["phase_strategies"]["debt-cleanup-1"]
    assert (found["auto_apply"], found["ci_profile"], found["high_risk"]) == (False, "strict", True)


def test_evidence_can_not_widen_a_scope() -> None:
    hostile = ("/etc/passwd", "../x", "a/../../x", "**", "src/*.py", ".git/config", "a/.GIT/x", "",
               "a//b", "C:\\x", "x\ny", "a/./b", "y" * 600)  # fmt: skip
    assert usable_paths(aged("k", *hostile, "src/good.py", "pages/[id].tsx")) == (
        "pages/[id].tsx",
        "src/good.py",
    )


def test_issues_without_a_usable_path_are_named_in_the_advice_and_not_scheduled() -> None:
    result = compiled(phase("a"), backlog=tuple(aged(f"k{number}", "**") for number in range(6)))
    assert cleanup(result) == []
    assert [row["code"] for row in result.document["advice"]] == ["debt-without-paths"]


def named(result, phase_id: str = "debt-cleanup-1") -> list:
    return result.document["phase_strategies"][phase_id]["cleans_up"]


def test_each_issue_of_a_phase_is_named_with_the_limits_that_its_age_has_reached() -> None:
    fields: tuple[dict[str, Any], ...] = (
        {"age_in_runs": 4, "age_in_tiers": 1}, {"age_in_runs": 3, "age_in_tiers": 2},
        {"age_in_runs": 1, "age_in_tiers": 0, "status": "needs_cleanup"},
    )  # fmt: skip
    backlog = tuple(aged(f"k{number}", "src/a.py", **one) for number, one in enumerate(fields))
    ruleset = {"debt_cleanup": {"aged_issue_limit": 0, "max_phases": 1}}
    result = compiled(phase("a"), backlog=backlog, ruleset=ruleset)
    assert named(result) == [
        {"issue_key": "k0", "age_in_runs": 4, "age_in_tiers": 1, "because": ["4 runs old, the limit is 3"]},
        {"issue_key": "k1", "age_in_runs": 3, "age_in_tiers": 2,
         "because": ["3 runs old, the limit is 3", "2 tiers old, the limit is 2"]},
        {"issue_key": "k2", "age_in_runs": 1, "age_in_tiers": 0,
         "because": ["marked for cleanup by a limit that held before"]},
    ]  # fmt: skip
    assert cleanup(result)[0].description == "Resolve: k0, k1, k2"
    assert "cleans_up" not in result.document["phase_strategies"]["a"]
    told = explain_phase("debt-cleanup-1", result.document, ruleset)
    assert [row.rule for row in told if row.name == "cleans up k0"] == ["4 runs old, the limit is 3"]


def test_a_phase_takes_the_oldest_issues_with_all_their_files_and_the_rest_waits() -> None:
    wide = tuple(f"lib/{number}.py" for number in range(40))
    backlog = (
        aged("new", *wide[:9], "lib/new.py", age_in_runs=4),
        aged("old", *wide, age_in_runs=9),
        aged("wide", wide[0], *(f"lib/w{number}.py" for number in range(20)), age_in_runs=8),
    )
    result = compiled(phase("a"), backlog=(*backlog, *many(4)), max_phases=2)
    [spec] = cleanup(result)
    assert [row["issue_key"] for row in named(result)] == ["new", "old"]
    assert set(spec.scope) == {*wide, "lib/new.py"}
    assert {row["code"] for row in result.document["advice"]} == {"debt-left", "debt-entries-left"}


def test_a_phase_names_no_more_issues_than_it_may() -> None:
    backlog = tuple(aged(f"k{number:02}", "src/a.py", age_in_runs=100 - number) for number in range(60))
    result = compiled(phase("a"), backlog=backlog)
    assert [row["issue_key"] for row in named(result)] == [f"k{number:02}" for number in range(50)]
    assert "10 aged issues" in result.document["advice"][0]["message"]


def test_an_issue_with_a_file_that_may_be_no_scope_is_not_cleaned_up_in_part() -> None:
    backlog = (aged("odd", "src/a.py", "src/*.py"), aged("plain", "src/a.py"))
    ruleset = {"debt_cleanup": {"aged_issue_limit": 0, "max_phases": 1}}
    result = compiled(phase("a"), backlog=backlog, ruleset=ruleset)
    assert [row["issue_key"] for row in named(result)] == ["plain"]
    assert [row["code"] for row in result.document["advice"]] == ["debt-without-paths"]


def test_ids_of_the_plan_are_not_taken_twice() -> None:
    result = compiled(phase("debt-cleanup-1", "debt-cleanup"), backlog=many(6))
    ids = [spec.phase_id for spec in result.plan.phases]
    assert len(set(ids)) == len(ids) == 6
    assert result.plan.tiers[-1].tier_id == "debt-cleanup.2"


_FILES = st.sampled_from(
    [f"{folder}/{name}.py" for folder in ("a", "b", "a/b", "c") for name in "xyz"] + ["a", "*"]
)
_STATES = st.sampled_from(["open", "needs_cleanup", "resolved"])
_AGED = st.tuples(st.lists(_FILES, max_size=6), st.integers(0, 9), _STATES)


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(_AGED, max_size=30), st.permutations(range(30)), st.integers(1, 4))
def test_no_phase_names_an_issue_whose_file_is_outside_of_its_scope(
    told: list[tuple[list[str], int, str]], order: list[int], most: int
) -> None:
    items = [aged(f"k{number:02}", *paths, age_in_runs=age, status=status)
             for number, (paths, age, status) in enumerate(told)]  # fmt: skip
    ruleset = {"debt_cleanup": {"aged_issue_limit": 0, "max_phases": most}}
    result = compiled(phase("p"), backlog=tuple(items), ruleset=ruleset)
    shuffled = tuple(items[number] for number in order if number < len(items))
    assert compiled(phase("p"), backlog=shuffled, ruleset=ruleset).canonical == result.canonical
    by_key = {item.issue_key: item for item in items}
    seen: set[str] = set()
    for spec in cleanup(result):
        keys = [row["issue_key"] for row in named(result, spec.phase_id)]
        assert keys == sorted(keys)
        assert set(spec.scope) == {path for key in keys for path in by_key[key].paths}
        assert all(by_key[key].status != "resolved" for key in keys)
        assert not seen & {*keys, *spec.scope}
        seen |= {*keys, *spec.scope}
