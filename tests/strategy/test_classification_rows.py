"""A ruleset's own words and paths: they join the published table, and the riskiest reading still wins."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from strategy.classify import classify_category
from strategy.classify_table import HARMLESS, PUBLISHED_ROWS
from strategy.rules import read_rules
from strategy.types import PhaseSpec
from strategy.validation import check_ruleset
from tests.strategy.builders import phase, row

PAYMENTS = {
    "category": "payments",
    "words": ["refund*", "größe"],
    "paths": ["billing/*"],
    "complexity": "high",
}


def ruled(*rows: dict[str, Any], **parts: Any) -> dict[str, Any]:
    ignored = parts.pop("ignored_words", [])
    return check_ruleset({"classification": {"rows": list(rows), "ignored_words": ignored}, **parts})


def category(spec: PhaseSpec, ruleset: dict[str, Any]) -> tuple[str, str]:
    return classify_category(spec, read_rules(ruleset).classification)


def test_an_own_row_shows_an_own_category_and_says_which_row_it_was() -> None:
    found = row(phase("a", name="Refunding twice"), ruleset=ruled(PAYMENTS))
    assert (found["task_category"], found["complexity"]) == ("payments", "high")
    assert found["because"] == [
        "category payments: the text says 'refunding' (the ruleset's row 1)",
        "complexity high: the text says 'refunding' (the ruleset's row 1)",
        "no mode: no rule of the table fits",
    ]
    assert category(phase("a", scope=("billing/x.py",)), ruled(PAYMENTS))[0] == "payments"
    assert category(phase("a", name="Die Größe"), ruled(PAYMENTS))[0] == "payments"


def test_an_own_row_is_no_way_around_a_riskier_one() -> None:
    own = {"category": "docs", "words": ["password page"]}
    assert category(phase("a", name="The password page"), ruled(own))[0] == "security_auth_change"
    risky = ruled(PAYMENTS, high_risk_categories=["payments"])
    assert category(phase("a", name="Refund endpoint and a feature"), risky)[0] == "payments"


def test_what_the_ruleset_counts_as_high_risk_is_read_first() -> None:
    text = phase("a", name="Refactor the tests")
    assert category(text, ruled())[0] == "cross_cutting_refactor"
    assert category(text, ruled(high_risk_categories=["tests"]))[0] == "tests"


def test_ignored_words_show_nothing_but_the_other_words_of_the_row_do() -> None:
    ruleset = ruled(ignored_words=["schema"])
    assert category(phase("a", name="Docs of the schema"), ruleset)[0] == "docs"
    assert category(phase("a", name="Schema migration"), ruleset) == (
        "schema_contract_change", "category schema_contract_change: the text says 'migration'"
    )  # fmt: skip


def test_a_row_may_ask_for_a_riskier_mode_but_not_for_a_laxer_one() -> None:
    heavy = {"paths": ["billing/*"], "builder_mode": "schema_heavy"}
    assert row(phase("a", scope=("billing/x",)), ruleset=ruled(heavy))["builder_mode"] == "schema_heavy"
    light = {"words": ["registry"], "builder_mode": "tweak_light", "complexity": "low"}
    found = row(phase("a", name="Registry"), ruleset=ruled(light))
    assert (found["builder_mode"], found["complexity"]) == ("refactor_heavy", "high")


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"words": ["Upper"], "category": "x"}, ["rows", 0, "words", 0]),
        ({"words": ["a.*b"], "category": "x"}, ["rows", 0, "words", 0]),
        ({"words": ["(a+)+$"], "category": "x"}, ["rows", 0, "words", 0]),
        ({"words": ["ab"], "paths": ["x/*"]}, ["rows", 0]),
        ({"category": "x"}, ["rows", 0]),
        ({"words": ["ab"], "category": "*"}, ["rows", 0, "category"]),
        ({"words": ["ab"], "category": "x", "weight": 3}, ["rows", 0, "weight"]),
    ],
)
def test_a_row_that_says_nothing_or_holds_a_pattern_is_refused_where_it_stands(
    given: Any, place: list
) -> None:
    with pytest.raises(Invalid) as caught:
        ruled(given)
    assert ["classification", *place] in [problem["loc"] for problem in caught.value.problems]


def test_of_any_two_readings_the_riskier_wins_by_words_by_paths_and_by_both() -> None:
    order = [found.category for found in PUBLISHED_ROWS]
    words = {found.category: found.words[0].rstrip("*") for found in PUBLISHED_ROWS}
    paths = {found.category: found.paths[0].replace("*", "x") for found in PUBLISHED_ROWS if found.paths}
    for one, other in permutations(order, 2):
        riskier = min(one, other, key=order.index)
        assert classify_category(phase("a", name=f"{words[one]} {words[other]}"))[0] == riskier
        if other in paths and (other not in HARMLESS or riskier == one):
            assert classify_category(phase("a", name=words[one], scope=(paths[other],)))[0] == riskier
        if one in paths and other in paths and riskier not in HARMLESS:
            assert classify_category(phase("a", scope=(paths[one], paths[other])))[0] == riskier


WORDS = st.sampled_from(["refund", "docs", "tests", "schema", "feature", "login", "bulk", "other"])
ROWS = st.lists(
    st.builds(
        lambda category, words: {"category": category, "words": words},
        st.sampled_from(["payments", "docs", "tests", "security_auth"]),
        st.lists(WORDS, min_size=1, max_size=3, unique=True),
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.lists(WORDS, max_size=4).map(" ".join), st.permutations(range(4)))
def test_the_order_of_rows_of_different_risk_never_changes_the_category(rows, text, order) -> None:
    spec = phase("a", name=text or "x")
    shuffled = [rows[place] for place in order if place < len(rows)]
    risks = {"security_auth_change": 0, "payments": 2, "tests": 3, "docs": 3}
    found, other = (category(spec, ruled(*given))[0] for given in (rows, shuffled))
    assert found == other or risks[found] == risks[other]
