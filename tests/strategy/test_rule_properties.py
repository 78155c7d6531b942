"""Properties of rules: no order of them matters, and none loosens what another says."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from strategy import debt
from strategy.engine import compile_strategy
from strategy.rules import read_rules
from strategy.strictness import LIMIT, RUN_ORDERS, orders
from strategy.types import BacklogItem, Plan, RunOptions
from tests.strategy.builders import aged, hash_under_two_seeds, phase, plan_of, printed_under_two_seeds

CATEGORY = st.sampled_from(["docs", "security_auth", "own", "tests", "general"])
GLOBS = st.sampled_from(["docs/**", "src/*.py", "src/payments", "**/x.md", "*"])
WHEN = st.fixed_dictionaries(
    {},
    optional={
        "category": st.lists(CATEGORY, min_size=1, max_size=2, unique=True),
        "complexity": st.lists(
            st.sampled_from(["low", "medium", "high"]), min_size=1, max_size=2, unique=True
        ),
        "paths": st.lists(GLOBS, min_size=1, max_size=2, unique=True),
        "safety_profile": st.just(["normal"]),
        "backlog": st.just({"aged_at_least": 2}),
    },
)
SMALL = st.integers(1, 6)
FEW = st.integers(0, 6)
USD = st.sampled_from([0, 0.5, 1.25, 3, 40])
PROFILES = st.sampled_from(
    ["general_review", "security_review", "own_review", "other_review", "schema_review"]
)
SET = {
    "complexity": st.sampled_from(["low", "medium", "high"]),
    "ci_profile": st.sampled_from(["normal", "strict"]),
    "max_builder_attempts": FEW, "max_auditor_attempts": st.integers(0, 4),
    "incident_token_cap": st.integers(0, 900_000), "max_attempt_tokens": st.integers(0, 300_000),
    "build_token_cap": st.integers(0, 900_000), "audit_token_cap": st.integers(0, 300_000),
    "incident_cost_cap_usd": USD, "max_attempt_cost_usd": USD, "run_cost_cap_usd": USD,
    "run_build_token_cap": st.integers(0, 900_000), "run_audit_token_cap": st.integers(0, 900_000),
    "ci_max_retries": SMALL, "audit_after_failures": SMALL, "auto_apply": st.booleans(),
    "auditor_profile": PROFILES, "max_diff_lines": FEW, "max_turns": FEW,
    "allow": st.fixed_dictionaries({}, optional={"binary": st.booleans(), "symlinks": st.booleans()}),
    "tier_token_cap_multiplier": st.sampled_from([0, 0.1, 1, 5]),
    "tier_ci_run_cap_multiplier": st.sampled_from([0.5, 3]),
    "tier_max_minor_issues_multiplier": st.sampled_from([0, 0.3, 4]), "tier_max_major_issues_tolerated": SMALL,
    "run_scope": st.sampled_from(["multi_tier", "single_tier"]), "run_token_cap": st.integers(0, 6_000_000),
    "run_max_phases": st.integers(8, 30), "run_max_duration_minutes": SMALL,
    "run_max_minor_issues_total": st.integers(0, 40), "minor_issue_aging_runs_threshold": SMALL,
    "minor_issue_aging_tiers_threshold": SMALL,
    "protected_paths": st.lists(GLOBS, min_size=1, max_size=2, unique=True),
    "severity_upgrades": st.lists(CATEGORY, min_size=1, max_size=2, unique=True),
    "on_phase_failure": st.sampled_from(["continue", "stop"]),
    "default_severity": st.sampled_from(["minor", "major"]),
    "debt_aged_issue_limit": st.integers(0, 9), "debt_max_phases": st.integers(0, 5),
}  # fmt: skip
SIZED = ("ci_profile", "auto_apply", "auditor_profile")


def _some(names: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=4, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({name: SET[name] for name in chosen})
    )


RULE = st.one_of(
    st.fixed_dictionaries({"when": WHEN, "set": _some(SET)}),
    st.builds(
        lambda when, size, values: {"when": {**when, "diff_lines_at_least": size}, "set": values},
        WHEN, st.sampled_from([10, 100]), _some(SIZED),
    ),
)  # fmt: skip
RULES = st.lists(RULE, max_size=6)
PHASE = st.tuples(
    st.sampled_from(["one", "two"]),
    st.sampled_from([None, "docs", "security_auth", "own", "tests"]),
    st.sampled_from([None, "tweak_light", "refactor_heavy"]),
    st.sampled_from([(), ("docs/a.md",), ("src/payments/**",), ("src/x.py", "lib/**")]),
)
PHASES = st.lists(PHASE, min_size=1, max_size=6)
BASES = st.fixed_dictionaries(
    {},
    optional={
        "category_defaults": st.sampled_from(
            [
                {"docs": {"auditor_profile": "own_review", "max_diff_lines": 50}},
                {
                    "docs": {"incident_token_cap": "unlimited", "max_turns": None},
                    "*": {"audit_token_cap": 900},
                },
                {"*": {"incident_token_cap": "unlimited", "incident_cost_cap_usd": 1.5}},
            ]
        ),
        "allow": st.just({"binary": True, "symlinks": True}),
        "run_token_cap": st.sampled_from(["unlimited", None, 0]),
        "run_cost_cap_usd": st.sampled_from(["unlimited", None, 2.5]),
        "high_risk_categories": st.just(["docs", "own"]),
        "debt_cleanup": st.sampled_from([{"max_phases": 0}, {"max_phases": 2, "aged_issue_limit": 8}]),
        "default_safety_profile": st.just("safety_critical"),
        "auditor_profile_order": st.just(["schema_review", "own_review"]),
    },
)
BACKLOG = tuple(aged(f"k{number}", f"src/{number}.py") for number in range(7))
# of age only by a threshold that a rule lowers; some join groups that would be cleaned up apart
YOUNG = (
    *(aged(f"y{number}", f"lib/{number}.py", age_in_runs=2) for number in range(4)),
    aged("y4", "src/0.py", "src/1.py", age_in_runs=1),
)


def _plan(rows: list[Any]) -> Plan:
    return plan_of(
        *(
            phase(f"p{index}", tier, index, task_category=category, builder_mode=mode, scope=scope)
            for index, (tier, category, mode, scope) in enumerate(rows)
        )
    )


def _compile(ruleset: dict[str, Any], plan: Plan, backlog: tuple[BacklogItem, ...] = BACKLOG) -> Any:
    return compile_strategy(ruleset, backlog, plan, run_id="r", project_id="p", options=RunOptions())


def _same_whatever_the_order(rows: list[Any], rules: list[Any], base: Any, chance: random.Random) -> None:
    given_rules = [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)]
    plan = _plan(rows)
    other_rules, phases, tiers = list(given_rules), list(plan.phases), list(plan.tiers)
    for values in (other_rules, phases, tiers):
        chance.shuffle(values)
    first = _compile({**base, "rules": given_rules}, plan)
    second = _compile({**base, "rules": other_rules}, Plan(tuple(tiers), tuple(phases)))
    assert first.canonical == second.canonical


def _never_looser(rows: list[Any], rules: list[Any], base: Any) -> None:
    """Compare the strategy with and without the last rule, field by field, by the table of orders."""
    given_rules = [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)]
    plan, ruleset = _plan(rows), {**base, "rules": given_rules}
    less = _compile({**ruleset, "rules": given_rules[:-1]}, plan, BACKLOG + YOUNG).document
    more = _compile(ruleset, plan, BACKLOG + YOUNG).document
    # a lower threshold cleans up more: then the tier of cleanup phases is another one
    is_same_cleanup = _cleaned(less) == _cleaned(more)
    read = read_rules(ruleset)
    order = orders(read.profile_order)
    unsaid = {"debt_aged_issue_limit": read.debt_aged_limit, "debt_max_phases": read.debt_max_phases}
    for name in RUN_ORDERS:
        if name not in more:
            assert name not in less, name  # a limit that nothing sets is absent
            continue
        before, after = less.get(name, unsaid.get(name)), more[name]
        if name == "severity_upgrades":
            before, after = sorted(before), sorted(after)
        assert order[name].covers(after, before), name
    for tier_id, caps in more["tier_strategies"].items():
        if tier_id == debt.TIER_ID and not is_same_cleanup:
            continue
        earlier = less["tier_strategies"][tier_id]
        assert caps.keys() >= earlier.keys(), (caps, earlier)
        for name in caps.keys() - {"tier_id"}:
            assert LIMIT.covers(_number(caps[name]), _number(earlier.get(name))), (name, caps, earlier)
    for phase_id, after in more["phase_strategies"].items():
        if after["task_category"] == debt.CATEGORY and not is_same_cleanup:
            continue
        before = less["phase_strategies"][phase_id]
        assert after.keys() >= before.keys()
        for name in order.keys() & after.keys():
            earlier = before.get(name, less.get(name))  # a limit that nothing set is absent
            assert order[name].covers(after[name], earlier), (phase_id, name, earlier, after[name])
        assert order["allow"].covers(after["allowed"], before["allowed"])
        assert after["requires_audit"] >= before["requires_audit"]
        assert after.get("least_severity") or not before.get("least_severity")
        for size in (0, 10, 99, 100, 5000):
            now, then = _held(after, size), _held(before, size)
            assert now["requires_audit"] >= then["requires_audit"]
            for name in ("ci_profile", "auditor_profile"):
                assert order[name].covers(now[name], then[name]), (size, name)


def _cleaned(document: dict[str, Any]) -> dict[str, Any]:
    rows = document["phase_strategies"]
    return {
        phase_id: [issue["issue_key"] for issue in row["cleans_up"]]
        for phase_id, row in rows.items()
        if "cleans_up" in row
    }


def _number(cap: Any) -> Any:
    return None if cap == "unlimited" else cap


def _held(limits: dict[str, Any], size: int) -> dict[str, Any]:
    reached = [row for row in limits["by_diff_size"] if row["diff_lines"] <= size]
    return reached[-1] if reached else limits


@settings(max_examples=500, deadline=None)
@given(PHASES, RULES, BASES, st.randoms(use_true_random=False))
def test_order_of_rules_and_phases_changes_no_byte(
    rows: Any, rules: Any, base: Any, chance: random.Random
) -> None:
    _same_whatever_the_order(rows, rules, base, chance)


@settings(max_examples=500, deadline=None)
@given(PHASES, RULES.filter(bool), BASES)
def test_adding_a_rule_never_loosens_anything(rows: Any, rules: Any, base: Any) -> None:
    _never_looser(rows, rules, base)


@pytest.mark.torture
@settings(max_examples=10_000, deadline=None)
@given(PHASES, RULES, BASES, st.randoms(use_true_random=False))
def test_order_of_rules_and_phases_changes_no_byte_ten_thousand_times(
    rows: Any, rules: Any, base: Any, chance: random.Random
) -> None:
    _same_whatever_the_order(rows, rules, base, chance)


@pytest.mark.torture
@settings(max_examples=10_000, deadline=None)
@given(PHASES, RULES.filter(bool), BASES)
def test_adding_a_rule_never_loosens_anything_ten_thousand_times(rows: Any, rules: Any, base: Any) -> None:
    _never_looser(rows, rules, base)


def test_rules_give_equal_bytes_in_two_processes_with_different_hash_seeds() -> None:
    program = (
        "from tests.strategy.builders import aged, compiled, phase\n"
        "r = [{'id': f'r{n}', 'when': {'category': ['docs', 'own'], 'paths': ['src/**', f'x{n}']}, 'set':"
        " {'severity_upgrades': ['b', 'a'], 'protected_paths': ['z', 'y'], 'allow': {'binary': False},"
        " 'max_diff_lines': 9}} for n in range(9)]\n"
        "p = (phase('a', task_category='docs'), phase('b', 'u', 1, scope=('x3', 'y')))\n"
        "print(compiled(*p, ruleset={'rules': r}, backlog=(aged('k', 'x'),)).sha256)"
    )
    assert len(hash_under_two_seeds(program)) == 1


def hash_of(case: Any) -> str:
    """Return the hash of the strategy of a case, as JSON gives it back: rows of phases, rules, the ruleset's rest."""
    rows, rules, base = case
    plan = _plan([(*row, tuple(scope)) for *row, scope in rows])
    given_rules = [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)]
    return str(_compile({**base, "rules": given_rules}, plan).sha256)


def test_what_is_drawn_gives_equal_bytes_in_two_processes_with_different_hash_seeds() -> None:
    cases: list[Any] = []

    @settings(max_examples=300, deadline=None, database=None, phases=[Phase.generate])
    @given(PHASES, RULES, BASES)
    def draw(rows: Any, rules: Any, base: Any) -> None:
        cases.append([rows, rules, base])

    draw()
    program = (
        "import json, sys\n"
        "from tests.strategy.test_rule_properties import hash_of\n"
        "for case in json.load(sys.stdin):\n"
        "    print(hash_of(case))"
    )
    [printed] = printed_under_two_seeds(program, given=json.dumps(cases))
    hashes = printed.split()
    assert len(hashes) == len(cases) >= 200
    assert len(set(hashes)) > len(cases) // 2, "the cases are not one and the same"
    assert hashes == [hash_of(case) for case in json.loads(json.dumps(cases))], "nor here, under a third seed"
