"""What every plan must obey, and where the refusal says that it doesn't."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopack_site.kernel.errors import AutopackError, Invalid
from runs.plan import UnknownTier, check_plan, plan_from_json
from runs.plan_checks import MAX_PHASES, MAX_TIERS, find_cycle
from strategy.types import PhaseSpec, Plan, TierSpec

TIER = TierSpec("t", 0, "Tier")


def phase(phase_id: str, index: int = 0, **fields) -> PhaseSpec:
    return PhaseSpec(phase_id, fields.pop("tier_id", "t"), index, fields.pop("name", "Phase"), **fields)


def rows(*phases: PhaseSpec, tiers: tuple[TierSpec, ...] = (TIER,)) -> list[tuple[str, list]]:
    with pytest.raises(Invalid) as caught:
        check_plan(Plan(tiers, phases))
    assert caught.value.status == 422
    return [(row["type"], row["loc"]) for row in caught.value.problems]


def message(*phases: PhaseSpec, tiers: tuple[TierSpec, ...] = (TIER,)) -> str:
    with pytest.raises(Invalid) as caught:
        check_plan(Plan(tiers, phases))
    return caught.value.problems[0]["msg"]


def test_a_sound_plan_passes() -> None:
    check_plan(
        Plan(
            (TIER, TierSpec("u", 1, "Later")),
            (
                phase("a"),
                phase("b", 1, depends_on=("a",), scope=("src/**", "@docs"), task_category="own word"),
                phase("c", 2, depends_on=(), complexity="high"),
                phase("d", 0, tier_id="u", depends_on=("a", "b")),
            ),
        )
    )


def test_an_unknown_tier_is_its_own_400() -> None:
    with pytest.raises(UnknownTier) as caught:
        check_plan(Plan((TIER,), (phase("p1", tier_id="nowhere"),)))
    assert caught.value.status == 400
    assert caught.value.detail == "Phase p1 references unknown tier nowhere"


def test_duplicate_ids_are_named_at_the_second() -> None:
    assert rows(phase("a"), phase("a", 1)) == [("duplicate_id", ["body", "phases", 1, "phase_id"])]
    assert rows(tiers=(TIER, TIER)) == [("duplicate_id", ["body", "tiers", 1, "tier_id"])]


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a..b", "x.lock", "x.", "-x", "x\n", "ü", "x" * 129])
def test_bad_ids_are_refused(bad: str) -> None:
    assert ("bad_id", ["body", "phases", 0, "phase_id"]) in rows(phase(bad))
    assert ("bad_id", ["body", "tiers", 0, "tier_id"]) in rows(tiers=(TierSpec(bad, 0, "T"),))


@pytest.mark.parametrize(
    ("fields", "kind", "place"),
    [
        ({"name": " "}, "bad_name", ["name"]),
        ({"name": "a\nb"}, "bad_name", ["name"]),
        ({"name": "x" * 201}, "bad_name", ["name"]),
        ({"description": "x" * 20_001}, "too_long", ["description"]),
        ({"index": -1}, "bad_index", ["phase_index"]),
        ({"complexity": "huge"}, "bad_complexity", ["complexity"]),
        ({"task_category": "x" * 65}, "bad_word", ["task_category"]),
        ({"builder_mode": "a\nb"}, "bad_word", ["builder_mode"]),
        ({"scope": ("ok/**", "/etc")}, "bad_glob", ["scope", 1]),
        ({"scope": ("a/../../x",)}, "bad_glob", ["scope", 0]),
        ({"scope": (".git/hooks/*",)}, "bad_glob", ["scope", 0]),
        ({"scope": ("a\\b",)}, "bad_glob", ["scope", 0]),
        ({"scope": (" a",)}, "bad_glob", ["scope", 0]),
        ({"scope": ("",)}, "bad_glob", ["scope", 0]),
        ({"scope": ("@",)}, "bad_glob", ["scope", 0]),
        ({"scope": ("x",) * 201}, "too_long", ["scope"]),
        ({"depends_on": ("ghost",)}, "unknown_dependency", ["depends_on", 0]),
        ({"depends_on": ("a",)}, "self_dependency", ["depends_on", 0]),
    ],
)
def test_a_fault_of_a_phase_is_told_with_its_path(fields: dict, kind: str, place: list) -> None:
    assert rows(phase("a", **fields)) == [(kind, ["body", "phases", 0, *place])]


def test_a_cycle_is_told_with_its_path() -> None:
    first, second = phase("b", 0, depends_on=("a",)), phase("a", 1, depends_on=("b",))
    assert rows(first, second) == [("dependency_cycle", ["body", "phases", 1, "depends_on"])]
    assert message(first, second) == "Dependency cycle: a -> b -> a"
    longer = [
        phase(name, index, depends_on=(other,))
        for index, (name, other) in enumerate([("a", "b"), ("b", "c"), ("c", "a")])
    ]
    assert message(*longer) == "Dependency cycle: a -> b -> c -> a"


def test_a_cycle_through_the_order_of_a_tier_is_found() -> None:
    assert message(phase("a", 0, depends_on=("b",)), phase("b", 1)) == "Dependency cycle: a -> b -> a"


def test_a_dependency_on_a_later_tier_is_refused() -> None:
    tiers = (TIER, TierSpec("u", 1, "Later"))
    found = rows(phase("a", depends_on=("z",)), phase("z", 1, tier_id="u"), tiers=tiers)
    assert found == [("later_tier", ["body", "phases", 0, "depends_on", 0])]


def test_plans_beyond_the_limits_are_refused_before_they_are_walked() -> None:
    assert rows(*[phase("a")] * (MAX_PHASES + 1)) == [("too_many_phases", ["body", "phases"])]
    assert rows(tiers=(TIER,) * (MAX_TIERS + 1)) == [("too_many_tiers", ["body", "tiers"])]


def test_a_long_chain_is_walked_without_recursion() -> None:
    names = [f"p{number}" for number in range(MAX_PHASES)]
    chain = [
        phase(name, index, depends_on=tuple(names[index - 1 : index])) for index, name in enumerate(names)
    ]
    check_plan(Plan((TIER,), tuple(chain)))
    with pytest.raises(Invalid):
        check_plan(Plan((TIER,), (replace(chain[0], depends_on=(names[-1],)), *chain[1:])))


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3)))
def test_a_cycle_found_is_one_and_none_found_means_that_an_order_exists(given_edges: dict) -> None:
    edges = {node: tuple(name for name in given_edges.get(node, ())) for node in "abcdef"}
    cycle = find_cycle(edges)
    if cycle:
        assert all(
            after in edges[before] for before, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        )
        return
    done: set[str] = set()
    for _ in edges:
        done |= {node for node, before in edges.items() if set(before) <= done}
    assert done == set(edges)


# --- JSON ------------------------------------------------------------------------------------------------

T = {"tier_id": "t", "tier_index": 0, "name": "Tier"}
P = {"phase_id": "p", "phase_index": 0, "tier_id": "t", "name": "Phase"}


def test_the_json_of_a_start_request_becomes_a_plan() -> None:
    plan = plan_from_json(
        [{**T, "description": None, "colour": "ignored"}],
        [{**P, "scope": ["a/**"], "depends_on": [], "task_category": "docs", "complexity": "low"},
         {**P, "phase_id": "q", "phase_index": 1, "depends_on": None}],
    )  # fmt: skip
    assert plan.tiers == (TIER,)
    assert plan.phases[0] == phase(
        "p", scope=("a/**",), depends_on=(), task_category="docs", complexity="low"
    )
    assert plan.phases[1].depends_on is None


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"phase_id": None}, ["body", "phases", 0, "phase_id"]),
        ({"phase_id": "a/b"}, ["body", "phases", 0, "phase_id"]),
        ({"phase_index": "0"}, ["body", "phases", 0, "phase_index"]),
        ({"phase_index": True}, ["body", "phases", 0, "phase_index"]),
        ({"complexity": "huge"}, ["body", "phases", 0, "complexity"]),
        ({"scope": "src"}, ["body", "phases", 0, "scope"]),
        ({"depends_on": ["p"]}, ["body", "phases", 0, "depends_on", 0]),
        ({"name": "a\x00"}, ["body", "phases", 0, "name"]),
        ({"description": "\ud800"}, ["body", "phases", 0, "description"]),
    ],
)
def test_bad_json_is_refused_at_its_path(change: dict, loc: list) -> None:
    with pytest.raises(Invalid) as caught:
        plan_from_json([T], [{**P, **change}])
    assert loc in [row["loc"] for row in caught.value.problems]


def test_a_missing_field_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        plan_from_json([T], [{key: value for key, value in P.items() if key != "name"}])
    row = caught.value.problems[0]
    assert (row["type"], row["loc"]) == ("missing", ["body", "phases", 0, "name"])


def test_an_unknown_tier_in_json_is_the_same_400() -> None:
    with pytest.raises(UnknownTier, match="Phase p references unknown tier x"):
        plan_from_json([T], [{**P, "tier_id": "x"}])


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["tier_id", "tier_index", "name", "phase_id", "phase_index", "scope", "depends_on"]
            ),
            inner,
            max_size=7,
        )
    ),
    max_leaves=12,
)


@given(ANY_JSON, ANY_JSON)
def test_any_json_gives_a_plan_or_a_typed_error(tiers, phases) -> None:
    try:
        check_plan(plan_from_json(tiers, phases))
    except AutopackError as error:
        assert error.status in (400, 422)  # noqa: PT017 (a plan is as good an answer)
