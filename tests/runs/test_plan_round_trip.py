"""Markdown and JSON say the same plan, hostile names included; every fault of a document is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from runs.plan import check_plan, parse_plan_document, plan_from_json, plan_to_json, plan_to_markdown
from runs.plan_checks import waits_for
from runs.plan_render import numbered
from strategy.types import PhaseSpec, Plan, TierSpec

MARKS = "#-*_`>|[]()!\\~=+.:1 "
PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]).filter(str.isprintable)
NAME = (
    st.text(st.sampled_from(MARKS) | PRINTABLE, min_size=1, max_size=16)
    | st.sampled_from(
        ["id: x", "- [ ] a", "<script>", "---", "``` x", "scope:", "exact: {}", "# a", " a  b "]
    )
).filter(lambda name: bool(name.strip()))
TEXT = st.text(
    st.sampled_from(MARKS + "\n\r\t\x0b\u2028\u00a0") | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=30,
)
WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 ._/:-]{0,12}", fullmatch=True)
GLOB = st.lists(st.text("abz*?_-{}`,.é @", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tiers: list[TierSpec] = []
    phases: list[PhaseSpec] = []
    for number in range(draw(st.integers(1, 3))):
        tiers.append(
            TierSpec(f"tier{number}", draw(st.integers(number * 10, number * 10 + 9)), draw(NAME), draw(TEXT))
        )
        for _ in range(draw(st.integers(0, 3))):
            known = [phase.phase_id for phase in phases]
            named = (
                st.lists(st.sampled_from(known), unique=True, min_size=1).map(tuple) if known else st.none()
            )
            phases.append(
                PhaseSpec(
                    f"P.{len(phases)}", f"tier{number}", draw(st.integers(0, 50)), draw(NAME), draw(TEXT),
                    task_category=draw(st.none() | WORD),
                    complexity=draw(st.sampled_from([None, "low", "high"])),
                    builder_mode=draw(st.none() | WORD),
                    scope=tuple(draw(st.lists(GLOB, max_size=2, unique=True))),
                    depends_on=draw(st.none() | st.just(()) | named),
                )
            )  # fmt: skip
    return Plan(tuple(tiers), tuple(phases))


def round_trip(plan: Plan) -> None:
    try:
        check_plan(plan)
    except Invalid:
        assume(False)
    text = plan_to_markdown(plan)
    read = parse_plan_document(text)
    assert read == numbered(plan)
    as_json = json.loads(json.dumps(plan_to_json(read)))
    assert plan_from_json(as_json["tiers"], as_json["phases"]) == read
    assert plan_to_markdown(plan_from_json(as_json["tiers"], as_json["phases"])) == text


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
@given(plans())
def test_a_plan_is_the_same_in_markdown_and_in_json(plan: Plan) -> None:
    round_trip(plan)


@pytest.mark.torture
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans())
def test_ten_thousand_plans_are_the_same_in_markdown_and_in_json(plan: Plan) -> None:
    round_trip(plan)


def test_texts_that_markdown_would_change_stand_in_an_exact_block() -> None:
    plan = Plan(
        (TierSpec("t", 0, "  Two  blanks "),),
        (PhaseSpec("p", "t", 0, "Plain", "tab\there\r\n", task_category="own ", builder_mode="Own"),),
    )
    text = plan_to_markdown(plan)
    assert "## Two blanks\n\n- id: t\n- exact:\n\n  ```json\n" in text
    assert parse_plan_document(text) == plan
    assert "exact" not in plan_to_markdown(
        Plan((TierSpec("t", 0, "T"),), (PhaseSpec("p", "t", 0, "P", "a\nb"),))
    )


def test_every_fault_of_a_document_is_told_with_its_line() -> None:
    text = """# Title
## One
id: one

- Write
  complexity: huge
  complexity: low
- id: lost
- Read
  complexty: low
  scope: ../up
-
## Two

prose: and nothing else
"""
    with pytest.raises(Invalid) as caught:
        parse_plan_document(text)
    found = [(row["loc"][2], row["type"]) for row in caught.value.problems]
    assert found == [
        (6, "bad_complexity"), (7, "duplicate_field"), (8, "misplaced_field"), (10, "unknown_field"),
        (11, "bad_glob"), (12, "no_name"),
    ]  # fmt: skip
    assert all(row["msg"].startswith(f"line {row['loc'][2]}: ") for row in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ('# T\n- a\n  - exact:\n\n    ```json\n    {"id": "x"}\n    ```\n', "bad_exact", 3),
        ("# T\n- a\n  exact: [\n", "bad_exact", 3),
        ("# T\n- a\n  exact: " + "[" * 9000 + "\n", "bad_exact", 3),
        ("# T\nphases: none\n- a\n", "bad_phases", 2),
        ("# T\nphases: 3\n", "bad_phases", 2),
    ],
)
def test_what_can_not_be_exact_is_refused_by_line(text: str, kind: str, line: int) -> None:
    with pytest.raises(Invalid) as caught:
        parse_plan_document(text)
    assert (kind, line) in [(row["type"], row["loc"][2]) for row in caught.value.problems]


def test_a_phase_that_follows_waits_for_all_before_it_in_its_tier() -> None:
    tier = TierSpec("t", 0, "T")
    phases = (
        PhaseSpec("a", "t", 0, "A", depends_on=("d",)),
        PhaseSpec("b", "t", 1, "B", depends_on=()),
        PhaseSpec("c", "t", 2, "C"),
        PhaseSpec("d", "t", 3, "D"),
    )
    plan = Plan((tier,), phases)
    assert waits_for(plan) == {"a": ("d",), "b": (), "c": ("a", "b"), "d": ("c",)}
    with pytest.raises(Invalid) as caught:
        check_plan(plan)
    assert caught.value.problems[0]["type"] == "dependency_cycle"
