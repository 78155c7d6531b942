"""Plan documents: what a reader sees is what the plan holds; every refusal names the line."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from runs.plan import parse_plan_document, plan_to_markdown
from runs.plan_markdown import MAX_CHARS, MAX_LINES, slug
from strategy.types import PhaseSpec, TierSpec

DOCUMENT = """\
---
author: someone
---
# Modernise the library

Why this is done:
- because

## Foundations *now*
id: foundations

The base.

- [ ] Modernise the **syntax**
  category: cross_cutting_refactor
  scope: src/**, tests/**
  Only the syntax.
- Write `the` changelog
  - category: docs
  - depends_on: modernise-the-syntax
  - scope:
    - docs/**
    - `*.md`

## Später
### Security review
Mode: refactor_heavy
complexity: High
Depends on: none

All of it.
### Security review
"""


def fault(text: str) -> tuple[str, int, str]:
    with pytest.raises(Invalid) as caught:
        parse_plan_document(text)
    row = caught.value.problems[0]
    assert row["loc"][:2] == ["body", "plan"]
    assert row["msg"].startswith(f"line {row['loc'][2]}: ")
    return row["type"], row["loc"][2], row["msg"].partition(": ")[2]


def test_headings_are_tiers() -> None:
    assert parse_plan_document(DOCUMENT).tiers == (
        TierSpec("foundations", 0, "Foundations now", "The base."),
        TierSpec("spater", 1, "Später"),
    )


def test_list_items_and_sub_headings_are_phases_with_fields() -> None:
    syntax, changelog, review, again = parse_plan_document(DOCUMENT).phases
    assert syntax == PhaseSpec(
        "modernise-the-syntax", "foundations", 0, "Modernise the syntax", "Only the syntax.",
        task_category="cross_cutting_refactor", scope=("src/**", "tests/**"),
    )  # fmt: skip
    assert changelog == PhaseSpec(
        "write-the-changelog", "foundations", 1, "Write the changelog", task_category="docs",
        scope=("docs/**", "*.md"), depends_on=("modernise-the-syntax",),
    )  # fmt: skip
    assert review == PhaseSpec(
        "security-review", "spater", 2, "Security review", "All of it.",
        complexity="high", builder_mode="refactor_heavy", depends_on=(),
    )  # fmt: skip
    assert (again.phase_id, again.depends_on) == ("security-review-2", None)


def test_without_a_title_the_first_level_is_the_tiers() -> None:
    plan = parse_plan_document("# One\n1. a\n2. b\n\n# Two\n* c\n")
    assert [(phase.tier_id, phase.phase_id) for phase in plan.phases] == [
        ("one", "a"),
        ("one", "b"),
        ("two", "c"),
    ]


def test_globs_are_not_read_as_emphasis() -> None:
    plan = parse_plan_document("# T\n- a\n  scope: **/x_*.py, a_b_c/**, *.md\n")
    assert plan.phases[0].scope == ("**/x_*.py", "a_b_c/**", "*.md")


def test_a_given_id_is_never_taken_by_a_made_one() -> None:
    plan = parse_plan_document("# T\n- Build\n- Other\n  id: build\n- Build\n")
    assert [phase.phase_id for phase in plan.phases] == ["build-2", "build", "build-3"]


def test_names_without_ascii_get_numbered_ids() -> None:
    plan = parse_plan_document("# 基礎\n- 構文\n- 文書\n")
    assert (plan.tiers[0].tier_id, plan.phases[1].phase_id) == ("tier-1", "phase-2")


def test_prose_around_fields_is_description() -> None:
    text = "# T\n- a\n\n  First.\n\n  > quoted\n\n  - point\n  - category: docs\n\n  ```\n  code: x\n  ```\n"
    found = parse_plan_document(text).phases[0]
    assert found.task_category == "docs"
    assert found.description == "First.\n> quoted\n- point\ncode: x"


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("", "no_tier", 1),
        ("just prose\n- item\n", "no_tier", 1),
        ("# T\n- a\n\n# Empty\nprose\n", "empty_tier", 4),
        ("# T\n- a\n  catagory: docs\n", "unknown_field", 3),
        ("# T\ncategory: docs\n- a\n", "misplaced_field", 2),
        ("# T\n- a\n- category: docs\n", "misplaced_field", 3),
        ("# T\n- a\n  id: x\n  id: y\n", "duplicate_field", 4),
        ("# T\n- a\n  id: x\n- b\n\n  id: x\n", "duplicate_id", 6),
        ("# T\n- a\n  id: ../x\n", "bad_id", 3),
        ("# T\n- a\n- b\n  complexity: huge\n", "bad_complexity", 4),
        ("# T\n- a\n  - scope:\n    - ok\n    - ../up\n", "bad_glob", 3),
        ("# T\n- a\n  depends_on: ghost\n", "unknown_dependency", 3),
        ("# T\n- a\n  depends_on: a\n", "self_dependency", 3),
        ("# T\n- a\n  depends_on: b\n- b\n  depends_on: a\n", "dependency_cycle", 3),
        ("# T\n- a\n  - scope:\n    - x\n      - y\n", "bad_list", 4),
        ("# T\n-\n", "no_name", 2),
        ("# T\n- a\n  depends_on: b\n# U\n- b\n", "later_tier", 3),
        ("# A\n  id: x\n- a\n# B\nid: x\n- b\n", "duplicate_id", 5),
    ],
)
def test_a_refusal_names_the_line(text: str, kind: str, line: int) -> None:
    assert fault(text)[:2] == (kind, line)


def test_a_cycle_is_told_with_its_path() -> None:
    text = "# T\n- a\n  depends_on: b\n- b\n  depends_on: c\n- c\n  depends_on: a\n"
    assert fault(text)[2] == "Dependency cycle: a -> b -> c -> a"


def test_a_typing_error_is_answered_with_the_field_that_was_meant() -> None:
    assert fault("# T\n- a\n  complexty: low\n")[2] == "unknown field 'complexty'; did you mean 'complexity'?"


@pytest.mark.parametrize("text", ["x" * (MAX_CHARS + 1), "\n" * MAX_LINES, "# T\n- a\x00", "# T\n- \ud800"])
def test_texts_beyond_the_limits_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_plan_document(text)


HOSTILE = {
    "brackets": "# A\n- " + "[" * 250_000,
    "emphasis": "# A\n- " + "*a **b " * 30_000,
    "ticks": "# A\n- " + "".join("`" * count + " " for count in range(600)),
    "nested": "# A\n" + "- " * 100_000,
    "quotes": "# A\n" + ">" * 200_000,
    "headings": "# A\n" * 9_999,
    "references": "# A\n- a\n" + "[a]: b\n" * 9_990,
    "wide": "# A\n- a\n  - description:" + " " * 200_000 + "x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_answered_in_bounded_time(name: str) -> None:
    started = time.process_time()  # the processor's time: others' load is not the parser's
    with contextlib.suppress(Invalid):
        parse_plan_document(HOSTILE[name])
    assert time.process_time() - started < 10


PIECES = st.sampled_from(
    ["# ", "## ", "### ", "- ", "  - ", "    ", "\n", "\n\n", "id: ", "scope: ", "scope:\n", "depends_on: ", "a",
     "b", "x/**", "`", "```\n", "> ", "1. ", "---\n", "category: docs", ": ", "*", "<b>", "<!--", "\t", "\\",
     "[a](b)", "|"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=120))
def test_any_text_gives_a_plan_or_a_refusal_with_a_place(text: str) -> None:
    try:
        plan = parse_plan_document(text)
    except Invalid as error:
        assert all(row["loc"][:2] == ["body", "plan"] for row in error.problems)  # noqa: PT017
    else:
        assert parse_plan_document(plan_to_markdown(plan)) == plan


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Größe & Maß!", "groe-ma"), ("A" * 90, "a" * 60), ("--", ""), ("x.lock", "x-lock")],
)
def test_ids_are_made_the_same_way_every_time(name: str, expected: str) -> None:
    assert slug(name) == expected
