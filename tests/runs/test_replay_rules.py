"""Rules that ask for a patch's size or for the backlog, held against what is recorded of both."""

from __future__ import annotations

from typing import Any

import pytest

from runs.models import Run
from runs.replay import replay
from strategy.models import Project, Strategy
from tests.factories import make_project
from tests.runs.past import attempt, ended, row, stops

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project("shop")


def patch(run: Run, phase_id: str, state: str, lines: int, tokens: int = 10, **fields: Any) -> None:
    """Write an attempt whose patch became a candidate of so many lines."""
    fields.setdefault("candidate_sha", "c" * 40)
    attempt(run, phase_id, "build", state, tokens, report={"diff_lines": lines}, **fields)


def sized(least: int, **values: Any) -> dict[str, Any]:
    return {"rules": [{"id": "large", "when": {"diff_lines_at_least": least}, "set": values}]}


def test_rules_by_the_size_of_a_patch_are_held_against_the_sizes_that_were_recorded(project: Project) -> None:
    run = ended(project, "r1")
    patch(run, "P1", "MERGED", 40)
    patch(run, "P2", "MERGED", 39)
    answer = replay(project, sized(40, auto_apply=False, ci_profile="strict"))
    found = row(answer, "r1")
    assert (found["audits_added"], found["gates_stricter"]) == (["P1"], ["P1"])
    assert answer["totals"]["phases_audited"] == 1
    assert row(answer, "r1")["in_force"]["audits_added"] == []
    # the gate of the day was chosen by size too, and the audit was made
    large = run.phases.get(phase_id="P1")
    strict = {"diff_lines": 30, "ci_profile": "strict", "requires_audit": True, "auditor_profile": "x"}
    run.phases.filter(pk=large.pk).update(limits={**large.limits, "by_diff_size": [strict]})
    attempt(run, "P1", "audit", "DECIDED", 1, purpose="approval", verdict="approve")
    assert (
        row(replay(project, sized(40, auto_apply=False, ci_profile="strict")), "r1")["gates_stricter"] == []
    )
    laxer = row(replay(project, sized(41, auto_apply=False, ci_profile="strict")), "r1")
    assert (laxer["audits_spared"], laxer["gates_laxer"]) == (["P1"], ["P1"])


def test_of_a_phases_patches_the_merged_one_says_whether_an_audit_was_needed(project: Project) -> None:
    run = ended(project, "r1")
    patch(run, "P1", "RED", 90)
    patch(run, "P1", "MERGED", 10)
    patch(run, "P2", "SUBMITTED", 90, candidate_sha="")
    found = row(replay(project, sized(50, auto_apply=False, ci_profile="strict")), "r1")
    assert found["audits_added"] == [], "the red one was never up for approval, the other one is no candidate"
    assert found["gates_stricter"] == ["P1"], "the red one passed a gate"


def test_patches_that_the_ruleset_refuses_are_named_and_stop_what_has_no_attempt_left(
    project: Project,
) -> None:
    run = ended(project, "r1")
    run.phases.filter(phase_id="P2").update(depends_on=["P1"])
    patch(run, "P1", "RED", 60, 1000)
    patch(run, "P1", "MERGED", 20, 1000)
    patch(run, "P2", "MERGED", 8, 1000)
    answer = replay(project, {"category_defaults": {"docs": {"max_diff_lines": 50}}})
    found = row(answer, "r1")
    assert (found["patches_refused"], found["stops"], found["tokens_kept"]) == (["P1"], [], 3000)
    assert answer["totals"]["patches_refused"] == 1
    assert "1 phases would have had a patch refused as too large." in answer["summary"]
    answer = replay(project, {"category_defaults": {"docs": {"max_diff_lines": 19}}})
    assert stops(answer, "r1") == [("max_diff_lines", "phase P1")], "two attempts are allowed"
    assert row(answer, "r1")["tokens_kept"] == 2000, "what depends on it is not followed"
    third = {"docs": {"max_diff_lines": 19, "max_builder_attempts": 3}}
    assert stops(replay(project, {"category_defaults": third}), "r1") == []
    assert any("too large" in text for text in answer["not_known"])


def keep_backlog(run: Run, seen: list[list[int]] | None) -> None:
    """Give the run a strategy that was compiled beside another backlog: its own can't be changed."""
    known = run.strategy
    copy = Strategy.objects.create(
        run_id=f"{run.run_id}-again", project=known.project, ruleset=known.ruleset, document=known.document,
        canonical=known.canonical, sha256=known.sha256, backlog_seen=seen,
    )  # fmt: skip
    Run.objects.filter(pk=run.pk).update(strategy=copy)


IN_DEBT = {"id": "in-debt", "when": {"backlog": {"aged_at_least": 3}}, "set": {"run_token_cap": 70_000}}


def test_rules_that_ask_for_the_backlog_are_held_against_that_of_the_day(project: Project) -> None:
    for run_id, seen in (("young", [[0, 0, 1, 0, 9]]), ("old", [[0, 0, 5, 1, 2], [1, 1, 0, 0, 1]])):
        run = ended(project, run_id)
        attempt(run, "P1", "build", "MERGED", 80_000)
        attempt(run, "P2", "build", "MERGED", 80_000)
        keep_backlog(run, seen)
    answer = replay(project, {"rules": [IN_DEBT]})
    assert stops(answer, "old") == [("run_token_cap", "phase P2")], "two of age and one marked"
    assert stops(answer, "young") == [], "nine that are not of age"
    sooner = {"rules": [IN_DEBT], "default_safety_profile": "safety_critical"}
    assert stops(replay(project, sooner), "young") == [], "nor by the shorter ones"
    shortest = {"rules": [IN_DEBT], "safety_profiles": {"normal": {"minor_issue_aging_runs_threshold": 1}}}
    assert stops(replay(project, shortest), "young") == [("run_token_cap", "phase P2")]
    assert not any("ask for the backlog" in text for text in answer["not_known"])


def test_what_an_earlier_release_did_not_keep_is_named(project: Project) -> None:
    keep_backlog(ended(project, "r1"), None)
    rule = {**IN_DEBT, "when": {"backlog": {"open_at_least": 1}}}
    answer = replay(project, {"rules": [rule]})
    assert stops(answer, "r1") == []
    assert answer["not_known"][-1].startswith("For 1 run that is older")
