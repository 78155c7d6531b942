"""A ruleset held against the past: where it would have stopped runs, what it would have audited, what it capped."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from autopack_site.kernel.errors import Invalid
from runs import services
from runs.models import Run
from runs.plan import parse_plan_document
from runs.replay import MAX_RUNS, lines, replay
from runs.replay_read import PastAttempt, PastPhase, PastRun, PastTier, asked_options
from runs.replay_walk import replay_run
from strategy.models import Project
from strategy.rules import read_rules
from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec
from tests.factories import make_project, make_run
from tests.runs.past import START, attempt, ended, row, stops

pytestmark = pytest.mark.django_db
AUDITS = {"max_auditor_attempts": 3}


@pytest.fixture
def project() -> Project:
    return make_project("shop")


def test_a_smaller_run_cap_stops_a_run_where_it_would_have_been_met(project: Project) -> None:
    run = ended(project, "r1")
    attempt(run, "P1", "build", "RED", 60_000)
    attempt(run, "P1", "build", "MERGED", 50_000)
    attempt(run, "P2", "build", "MERGED", 40_000)
    answer = replay(project, {"run_token_cap": 150_000})
    assert stops(answer, "r1") == [("run_token_cap", "phase P2")]
    assert (row(answer, "r1")["tokens"], row(answer, "r1")["tokens_kept"]) == (150_000, 110_000)
    assert answer["totals"]["caps"] == [
        {"cap": "run_token_cap", "runs": 1, "first_run": "r1", "first_place": "phase P2"}
    ]
    assert row(answer, "r1")["in_force"]["stops"] == []
    assert answer["totals_in_force"]["tokens_kept"] == 150_000


@pytest.mark.parametrize(
    ("ruleset", "cap", "place", "kept"),
    [
        ({"category_defaults": {"docs": {"audit_token_cap": 9_000, **AUDITS}}},
         "audit_token_cap", "phase P1", 160_000),
        ({"category_defaults": {"docs": {"build_token_cap": 60_000, **AUDITS}}},
         "build_token_cap", "phase P1", 120_000),
        ({"run_build_token_cap": 130_000}, "run_build_token_cap", "phase P2", 120_000),
        ({"run_cost_cap_usd": 1}, "run_cost_cap_usd", "phase P2", 120_000),
        ({"category_defaults": {"docs": {"incident_cost_cap_usd": 0.5, **AUDITS}}},
         "incident_cost_cap_usd", "phase P1", 110_000),
        ({"category_defaults": {"docs": {"incident_cost_cap_usd": 1, "tier_token_cap_multiplier": 0.5, **AUDITS}}},
         "tier_cost_cap_usd", "phase P2", 120_000),
    ],
)  # fmt: skip
def test_envelopes_and_money_stop_a_replay_as_they_stop_a_run(
    project: Project, ruleset: dict[str, Any], cap: str, place: str, kept: int
) -> None:
    run = ended(project, "r1")
    attempt(run, "P1", "build", "RED", 60_000, cost_micro_usd=500_000)
    attempt(run, "P1", "audit", "DECIDED", 10_000, cost_micro_usd=100_000)
    attempt(run, "P1", "build", "MERGED", 40_000, cost_micro_usd=300_000)
    attempt(run, "P1", "audit", "DECIDED", 10_000)  # what it cost is not known
    attempt(run, "P2", "build", "MERGED", 50_000, cost_micro_usd=700_000)
    answer = replay(project, {"category_defaults": {"docs": AUDITS}, **ruleset})
    assert (cap, place) in stops(answer, "r1")
    assert row(answer, "r1")["tokens_kept"] == kept


def test_an_unlimited_ruleset_stops_nothing_by_tokens(project: Project) -> None:
    run = ended(project, "r1")
    for phase_id in ("P1", "P2"):
        attempt(run, phase_id, "build", "MERGED", 10**9)
    limits = {
        "run_token_cap": "unlimited",
        "category_defaults": {"docs": {"incident_token_cap": "unlimited"}},
    }
    answer = replay(project, limits)
    assert stops(answer, "r1") == []
    assert [stop["cap"] for stop in row(answer, "r1")["in_force"]["stops"]] == ["run_token_cap"]


def test_fewer_attempts_end_the_phase_and_what_depends_on_it_but_not_the_rest(project: Project) -> None:
    run = ended(project, "r1", phases_per_tier=3)
    run.phases.filter(phase_id="P2").update(depends_on=["P1"])
    run.phases.filter(phase_id="P3").update(depends_on=[])
    for phase_id, state in (("P1", "RED"), ("P1", "MERGED"), ("P2", "MERGED"), ("P3", "MERGED")):
        attempt(run, phase_id, "build", state, 1000)
    answer = replay(project, {"category_defaults": {"docs": {"max_builder_attempts": 1}}})
    assert stops(answer, "r1") == [("max_builder_attempts", "phase P1")]
    assert row(answer, "r1")["tokens_kept"] == 2000, "P1's first attempt and P3's"
    critical = {
        "default_safety_profile": "safety_critical",
        "category_defaults": {"docs": {"max_builder_attempts": 1}},
    }
    assert row(replay(project, critical), "r1")["tokens_kept"] == 1000, "safety_critical stops at the first"


def test_a_phase_whose_failure_ends_its_run_ends_what_is_followed(project: Project) -> None:
    run = ended(project, "r1")
    run.phases.filter(phase_id="P2").update(depends_on=[])
    for phase_id, state in (("P1", "RED"), ("P1", "MERGED"), ("P2", "MERGED")):
        attempt(run, phase_id, "build", state, 1000)
    once = {"set": {"max_builder_attempts": 1}}
    for rule, kept in (({"set": {"on_phase_failure": "stop"}}, 1000), ({"set": {"max_turns": 9}}, 2000)):
        rules = [{"id": "once", **once}, {"id": "other", **rule}]
        assert row(replay(project, {"rules": rules}), "r1")["tokens_kept"] == kept


def test_audits_and_gates_that_change_are_named(project: Project) -> None:
    run = ended(project, "r1")
    attempt(run, "P1", "build", "MERGED", 1)
    attempt(run, "P2", "build", "MERGED", 1)
    strict = {"docs": {"auto_apply": False, "ci_profile": "strict"}}
    found = row(replay(project, {"category_defaults": strict}), "r1")
    assert (found["audits_added"], found["gates_stricter"]) == (["P1", "P2"], ["P1", "P2"])
    attempt(run, "P1", "audit", "DECIDED", 1, purpose="approval", verdict="approve")
    assert row(replay(project, {"category_defaults": strict}), "r1")["audits_added"] == ["P2"]
    assert row(replay(project, {}), "r1")["audits_spared"] == ["P1"]


@pytest.mark.parametrize(
    ("given", "fields", "cap", "place"),
    [
        ({"run_max_duration_minutes": 20}, {}, "run_max_duration_minutes", "the run"),
        ({}, {"minor_issues_count": 7}, "run_max_minor_issues_total", "the run"),
    ],
)
def test_caps_of_the_whole_run_are_held_against_the_whole(
    project: Project, given: dict[str, Any], fields: dict[str, Any], cap: str, place: str
) -> None:
    ended(project, "r1", **fields)
    assert stops(replay(project, given), "r1") == [(cap, place)]


def test_gate_runs_and_issues_of_a_tier_are_held_against_its_caps(project: Project) -> None:
    run = ended(project, "r1")
    run.tiers.update(ci_runs_used=5, minor_issues_count=5, major_issues_count=1)
    assert stops(replay(project, {}), "r1") == [("tier_ci_run_cap", "tier T1")]
    assert stops(replay(project, {"default_safety_profile": "safety_critical"}), "r1") == [
        ("tier_ci_run_cap", "tier T1"), ("tier_max_major_issues_tolerated", "tier T1")
    ]  # fmt: skip


def test_a_dirty_tier_stops_a_run_that_goes_one_tier_at_a_time_by_either_severity(project: Project) -> None:
    run = ended(project, "r1")
    run.tiers.update(major_issues_count=1)
    assert stops(replay(project, {}), "r1") == [], "the next tier is not blocked"
    by_tier = {"rules": [{"id": "by-tier", "set": {"run_scope": "single_tier"}}]}
    assert stops(replay(project, by_tier), "r1") == [("tier_max_major_issues_tolerated", "tier T1")]
    tolerated = {**by_tier, "category_defaults": {"docs": {"tier_max_major_issues_tolerated": 1}}}
    assert stops(replay(project, tolerated), "r1") == []
    run.tiers.update(minor_issues_count=9)
    assert stops(replay(project, by_tier), "r1") == [("tier_max_major_issues_tolerated", "tier T1")], (
        "of both"
    )
    run.tiers.update(major_issues_count=0)
    assert stops(replay(project, by_tier), "r1") == [("tier_max_minor_issues_tolerated", "tier T1")]


def test_a_run_that_asked_for_its_own_caps_keeps_them(project: Project) -> None:
    plan = parse_plan_document("# Plan\n## One\n- Write\n  id: P1\n")
    for name, options in (("own", RunOptions(token_cap=200_000)), ("ruled", RunOptions())):
        run = services.start_run(name, project_id="shop", plan=plan, options=options, by="tests")
        Run.objects.filter(pk=name).update(state="DONE_SUCCESS", started_at=START, completed_at=START)
        for _ in range(2):
            attempt(run, "P1", "build", "LOST", 10_000)
    answer = replay(project, {"run_token_cap": 10_000})
    assert stops(answer, "own") == []
    assert stops(answer, "ruled") == [("run_token_cap", "phase P1")]


def test_of_runs_from_before_origins_what_the_rules_would_not_have_given_was_asked_for() -> None:
    rules = read_rules({"run_token_cap": 100})
    row = {
        "safety_profile": "normal", "run_scope": "single_tier", "token_cap": 100, "max_phases": 25,
        "max_duration_minutes": 7, "strategy__document__origins__run": None,
    }  # fmt: skip
    assert asked_options(row, rules) == RunOptions(run_scope="single_tier", max_duration_minutes=7)
    recorded = {**row, "strategy__document__origins__run": {"run_token_cap": "asked"}}
    assert asked_options(recorded, rules) == RunOptions(token_cap=100)


ATTEMPTS = st.lists(
    st.builds(
        PastAttempt, st.sampled_from(["P1", "P2", "P3"]), st.sampled_from(["build", "audit", "audit_patch"]),
        st.booleans(),
        st.sampled_from(["", "approval", "failure"]), st.none() | st.integers(0, 400_000), st.none(),
        st.none() | st.integers(0, 30), st.booleans(),
    ),
    max_size=12,
)  # fmt: skip
CAPS = st.fixed_dictionaries(
    {},
    optional={
        "run_token_cap": st.integers(0, 2_000_000),
        "run_max_phases": st.integers(1, 5),
        "rules": st.just(
            [
                {"id": "large", "when": {"diff_lines_at_least": 10}, "set": {"auto_apply": False}},
                {"id": "most", "set": {"max_diff_lines": 20}},
            ]
        ),
    },
)


@settings(max_examples=150, deadline=None)
@given(ATTEMPTS, CAPS, st.integers(0, 9), st.none() | st.floats(0, 500))
def test_whatever_was_recorded_no_token_is_made_up(
    attempts: Any, caps: Any, minor: int, minutes: float | None
) -> None:
    plan = Plan(
        (TierSpec("t", 0, "T"),),
        tuple(PhaseSpec(f"P{n}", "t", n, "P", depends_on=("P1",) if n == 2 else None) for n in (1, 2, 3)),
    )
    held = {f"P{n}": PastPhase({"ci_profile": "normal"}, False) for n in (1, 2, 3)}
    past = PastRun(
        "r",
        "DONE_SUCCESS",
        plan,
        RunOptions(),
        None,
        minor,
        minutes,
        {"t": PastTier(1, minor, 0)},
        held,
        tuple(attempts),
    )
    found = replay_run(past, read_rules(caps))
    assert 0 <= found.tokens_kept <= past.tokens
    assert found == replay_run(past, read_rules(caps))
    if not found.stops and found.refused is None:
        assert found.tokens_kept == past.tokens
    assert set(found.audits_added + found.audits_spared) <= {one.phase_id for one in attempts}


def test_too_many_phases_are_a_refusal_at_the_start(project: Project) -> None:
    plan = parse_plan_document("# Plan\n## One\n- Write\n  id: P1\n- Read\n  id: P2\n")
    run = services.start_run("r1", project_id="shop", plan=plan, options=RunOptions(), by="tests")
    Run.objects.filter(pk="r1").update(state="DONE_SUCCESS", started_at=START, completed_at=START)
    attempt(run, "P1", "build", "MERGED", 9)
    answer = replay(project, {"run_max_phases": 1})
    assert row(answer, "r1")["refused"]["code"] == "too-many-phases"
    assert (answer["totals"]["runs_refused"], answer["totals"]["tokens_kept"]) == (1, 0)


def test_words_are_read_again_and_what_the_plan_declared_stays(project: Project) -> None:
    run = ended(project, "r1", task_category=None)
    run.phases.filter(phase_id="P1").update(description="Refund the customer")
    attempt(run, "P1", "build", "MERGED", 1)
    attempt(run, "P2", "build", "MERGED", 1)
    given = {
        "classification": {"rows": [{"category": "payments", "words": ["refund"]}]},
        "category_defaults": {"payments": {"auto_apply": False}, "docs": {"auto_apply": False}},
    }
    assert row(replay(project, given), "r1")["audits_added"] == ["P1"]


def test_unknown_usage_counts_as_nothing_and_the_answer_says_so(project: Project) -> None:
    attempt(ended(project, "r1"), "P1", "build", "MERGED", None)
    answer = replay(project, {})
    assert answer["totals"]["tokens"] == 0
    assert any("usage is unknown" in text for text in answer["not_known"])
    assert any("What an agent would have done" in text for text in answer["not_known"])


def test_the_last_runs_of_this_project_alone_are_replayed_newest_first_the_same_way_each_time(
    project: Project,
) -> None:
    for number in range(4):
        attempt(ended(project, f"r{number}", age_days=number), "P1", "build", "MERGED", 10)
    ended(make_project("other"), "theirs")
    make_run(project, run_id="live")
    answer = replay(project, {"run_token_cap": 5}, runs=3)
    assert [found["run_id"] for found in answer["runs"]] == ["r0", "r1", "r2"]
    assert answer == replay(project, {"run_token_cap": 5}, runs=3)
    assert answer["summary"][0] == "0 of your last 3 runs would have been stopped by a cap."
    assert "What the past can't tell:" in list(lines(answer))
    for wrong in (0, MAX_RUNS + 1):
        with pytest.raises(Invalid):
            replay(project, {}, runs=wrong)


def test_a_project_without_a_past_is_told_so(project: Project) -> None:
    assert replay(project, {})["summary"] == [
        "No run of this project has ended yet: there is nothing to replay."
    ]


def test_as_many_queries_for_thirty_runs_as_for_three(project: Project) -> None:
    counts = []
    for number in range(30):
        attempt(ended(project, f"r{number}"), "P1", "build", "MERGED", 10)
        if number in (2, 29):
            with CaptureQueriesContext(
                connection,
            ) as seen:
                assert len(replay(project, {})["runs"]) == number + 1
            counts.append(len(seen))
    assert counts[0] == counts[1] <= 8
