"""A plan too large for one run becomes linked runs by tier and dependency, which start one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from runs import ports, services, supervisor, trials
from runs.errors import RunExists
from runs.models import Run
from runs.plan import check_plan, parse_plan_document
from runs.plan_checks import waits_for
from runs.plan_split import parts_shown, split_plan
from runs.ports import IssueReport
from strategy.errors import TooManyPhases
from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec
from tests.factories import make_project


def phase(number: int, tier: str = "a", **fields: Any) -> PhaseSpec:
    return PhaseSpec(f"p{number}", tier, number, f"Phase {number}", **fields)


def ids(plan: Plan, limit: int) -> list[list[str]]:
    return [[found.phase_id for found in part.plan.phases] for part in split_plan(plan, limit)]


A, B, C = (TierSpec(name, index, name.upper()) for index, name in enumerate("abc"))


def test_tiers_stay_whole_where_they_fit() -> None:
    plan = Plan((A, B, C), (phase(0), phase(1), phase(2, "b"), phase(3, "c"), phase(4, "c")))
    assert ids(plan, 5) == [["p0", "p1", "p2", "p3", "p4"]]
    assert ids(plan, 3) == [["p0", "p1", "p2"], ["p3", "p4"]]
    assert ids(plan, 2) == [["p0", "p1"], ["p2"], ["p3", "p4"]]


def test_a_tier_above_the_limit_is_cut_in_the_order_of_its_dependencies() -> None:
    free: Any = {"depends_on": ()}
    plan = Plan(
        (A, B),
        (phase(0, depends_on=("p3",)), phase(1, **free), phase(2, **free), phase(3, **free), phase(4, "b")),
    )
    assert ids(plan, 2) == [["p1", "p2"], ["p3", "p0"], ["p4"]]
    assert ids(plan, 3) == [["p1", "p2", "p3"], ["p0", "p4"]]
    shown = parts_shown(split_plan(plan, 3), "build")
    assert [(part["run_id"], part["after"]) for part in shown] == [("build", None), ("build.2", "build")]
    assert shown[1]["waits_for"] == [{"phase_id": "p0", "depends_on": ["p3"]}]
    assert shown[1]["tiers"] == [
        {"tier_id": "a", "phases": ["p0"]}, {"tier_id": "b", "phases": ["p4"]}
    ]  # fmt: skip


def test_no_phase_fits_in_a_run_of_none() -> None:
    with pytest.raises(TooManyPhases):
        split_plan(Plan((A,), (phase(0),)), 0)
    assert split_plan(Plan((A,), ()), 0)[0].plan.phases == ()


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(1, 12))
    tiers = [draw(st.sampled_from("abc")) for _ in range(count)]
    dependencies = st.none() | st.lists(
        st.sampled_from([f"p{n}" for n in range(count)]), max_size=3, unique=True
    )
    phases = tuple(
        PhaseSpec(f"p{number}", tiers[number], draw(st.integers(0, 5)), "P",
                  depends_on=None if (found := draw(dependencies)) is None else tuple(found))
        for number in range(count)
    )  # fmt: skip
    return Plan((A, B, C), phases)


@settings(max_examples=100, deadline=None)
@given(plans(), st.integers(1, 6))
def test_whatever_the_plan_nothing_is_lost_and_nothing_waits_for_a_later_run(plan: Plan, limit: int) -> None:
    try:
        check_plan(plan)
    except Invalid:
        assume(False)
    parts = split_plan(plan, limit)
    part_of = {found.phase_id: number for number, part in enumerate(parts) for found in part.plan.phases}
    assert sorted(part_of) == sorted(found.phase_id for found in plan.phases)
    assert all(len(part.plan.phases) <= limit for part in parts)
    for name, others in waits_for(plan).items():
        assert all(part_of[other] <= part_of[name] for other in others)
    order = {tier.tier_id: tier.tier_index for tier in plan.tiers}
    for number, part in enumerate(parts):
        check_plan(part.plan)
        for found in part.plan.phases:
            assert all(part_of[other] >= number or other not in part_of for other in found.depends_on or ())
    tiers = [
        order[found.tier_id]
        for part in parts
        for found in sorted(part.plan.phases, key=lambda p: order[p.tier_id])
    ]
    assert tiers == sorted(tiers)


@pytest.mark.django_db
def test_the_runs_of_a_split_plan_start_one_after_the_other() -> None:
    project = make_project(ruleset={"run_max_phases": 2})
    text = "# Plan\n## One\n" + "".join(f"- Step {n}\n  id: s{n}\n  category: docs\n" for n in range(5))
    runs = services.start_plan_document(
        "big", project_id=project.project_id, text=text, options=RunOptions(), by="tests"
    )
    assert [(run.run_id, run.previous_id, run.phases.count()) for run in runs] == [
        ("big", None, 2), ("big.2", "big", 2), ("big.3", "big.2", 1)
    ]  # fmt: skip
    supervisor.step("big.2")
    assert Run.objects.get(pk="big.2").state == "RUN_CREATED", "it waits for the one before"
    services.cancel_run("big", by="tests", why="no longer wanted")
    supervisor.step("big.2")
    supervisor.step("big.3")
    assert [Run.objects.get(pk=name).failure_code for name in ("big.2", "big.3")] == [
        "previous-run-failed"
    ] * 2


@pytest.mark.django_db
def test_a_plan_is_split_by_the_backlog_that_its_runs_are_compiled_with() -> None:
    rule = {"id": "in-debt", "when": {"backlog": {"aged_at_least": 1}}, "set": {"run_max_phases": 3}}
    project = make_project(ruleset={"rules": [rule]})
    asked: Any = {"project_id": project.project_id, "options": RunOptions(), "by": "tests"}
    small = Plan((A,), (phase(0),))
    first = services.start_run("r0", plan=small, **asked)
    seen = IssueReport("slow", "minor", "probe", "speed")
    ports.ledger().record(first.phases.get().pk, [seen], reporter="tests")
    for name in ("r1", "r2"):
        services.start_run(name, plan=small, **asked)
    text = "# Plan\n## One\n" + "".join(f"- Step {n}\n  id: s{n}\n  category: docs\n" for n in range(5))
    assert trials.split_limit(project, parse_plan_document(text)) == 3, "of age by the start that comes"
    runs = services.start_plan_document("big", text=text, **asked)
    assert [(run.run_id, run.max_phases, run.phases.count()) for run in runs] == [
        ("big", 3, 3), ("big.2", 3, 2)
    ]  # fmt: skip
    [entry] = ports.ledger().backlog(project.pk)
    assert entry.age_in_runs == 3, "one start of a split plan ages once"


@pytest.mark.django_db
def test_a_plan_document_of_a_run_that_is_there_ages_nothing() -> None:
    project = make_project()
    asked: Any = {"project_id": project.project_id, "options": RunOptions(), "by": "tests"}
    first = services.start_run("r0", plan=Plan((A,), (phase(0),)), **asked)
    seen = IssueReport("slow", "minor", "probe", "speed")
    ports.ledger().record(first.phases.get().pk, [seen], reporter="tests")
    with pytest.raises(RunExists):
        services.start_plan_document("r0", text="# Plan\n## One\n- Step\n", **asked)
    [entry] = ports.ledger().backlog(project.pk)
    assert entry.age_in_runs == 0
