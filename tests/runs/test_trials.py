"""A ruleset tried on a plan: every value with its rule, what it changes, and nothing stored."""

from __future__ import annotations

from typing import Any

import pytest

from autopack_site.kernel.errors import Invalid
from runs import ports, services, trials
from runs.models import Run
from runs.plan import parse_plan_document
from runs.ports import IssueReport
from strategy.differences import Kind
from strategy.errors import NoRuleset, TooManyPhases
from strategy.models import Project, Ruleset, Strategy
from strategy.types import BacklogItem, RunOptions
from tests.factories import make_project

pytestmark = pytest.mark.django_db
PLAN = parse_plan_document("""# Plan
## One
- Fix a typo in the README
  id: typo
- Add the login page
  id: login
""")


@pytest.fixture
def project() -> Project:
    return make_project("shop")


def changed(answer: dict[str, Any]) -> dict[tuple[str, str], tuple[Any, Any]]:
    return {(row["subject"], row["name"]): (row["before"], row["after"]) for row in answer["differences"]}


def test_a_changed_cap_is_shown_at_the_run_the_tier_and_the_phase_with_the_rules_behind_it(
    project: Project,
) -> None:
    given = {"run_token_cap": 300_000, "category_defaults": {"docs": {"max_builder_attempts": 1}}}
    answer = trials.dry_run(project, given, PLAN)
    found = changed(answer)
    assert found["dry-run", "run_token_cap"] == (5_000_000, 300_000)
    assert found["login", "incident_token_cap"] == (800_000, 300_000)
    assert found["typo", "max_builder_attempts"] == (2, 1)
    assert ("one", "token_cap") in found
    row = next(r for r in answer["differences"] if (r["subject"], r["name"]) == ("dry-run", "run_token_cap"))
    assert (row["before_rule"], row["after_rule"]) == (
        "ruleset version 1: run_token_cap", "ruleset version 2: run_token_cap"
    )  # fmt: skip
    assert (answer["ruleset_version"], answer["in_force_version"]) == (2, 1)
    [run] = answer["runs"]
    assert [phase["because"][0] for phase in run["phases"]] == [
        "category docs: the text says 'typo'", "category security_auth_change: the text says 'login'"
    ]  # fmt: skip


def test_the_ruleset_in_force_changes_nothing(project: Project) -> None:
    assert project.ruleset is not None
    answer = trials.dry_run(project, project.ruleset.document, PLAN)
    assert (answer["differences"], answer["ruleset_differences"]) == ([], [])


def test_a_text_is_refused_by_line_and_field(project: Project) -> None:
    with pytest.raises(Invalid) as caught:
        trials.dry_run(project, "run_token_cap: 5\nrun_max_phases: many\n", PLAN)
    [row] = caught.value.problems
    assert (row["loc"], row["msg"].split(":")[0]) == (["run_max_phases"], "line 2")
    with pytest.raises(Invalid) as caught:
        trials.dry_run(project, {"project_id": "other"}, PLAN)
    assert caught.value.problems[0]["type"] == "other_project"


def test_nothing_is_stored(project: Project) -> None:
    before = [model.objects.count() for model in (Ruleset, Strategy, Run)]
    trials.dry_run(project, {"run_token_cap": 1}, PLAN)
    trials.explain(project, PLAN)
    assert [model.objects.count() for model in (Ruleset, Strategy, Run)] == before


def test_what_is_tried_is_what_a_run_then_gets(project: Project) -> None:
    shown = trials.explain(project, PLAN)["runs"][0]
    run = services.start_run("dry-run", project_id="shop", plan=PLAN, options=RunOptions(), by="tests")
    assert run.strategy.sha256 == shown["strategy_sha256"]


def test_the_backlog_is_a_run_older_than_it_is_now(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        BacklogItem(
            f"k{n}", "docs", "minor", age_in_runs=2, age_in_tiers=0, status="open", paths=("docs/a.md",)
        )
        for n in range(6)
    ]
    monkeypatch.setattr(ports.ledger(), "backlog", lambda _pk: items)
    [run] = trials.explain(project, PLAN)["runs"]
    assert [phase["is_inserted"] for phase in run["phases"]] == [False, False, True]
    found = changed(trials.dry_run(project, {"debt_cleanup": {"aged_issue_limit": 10}}, PLAN))
    assert found["dry-run", "run_max_minor_issues_total"] == (9, 6)


def test_what_a_start_marks_is_of_age_in_whatever_profile_is_asked_for() -> None:
    """A run in normal, of a project whose default profile has the shorter thresholds."""
    project = make_project(
        "careful",
        ruleset={
            "default_safety_profile": "safety_critical",
            "safety_profiles": {
                "safety_critical": {"minor_issue_aging_runs_threshold": 1},
                "normal": {"minor_issue_aging_runs_threshold": 9, "minor_issue_aging_tiers_threshold": 9},
            },
            "rules": [
                {"id": "aged", "when": {"backlog": {"aged_at_least": 1}}, "set": {"run_max_phases": 20}}
            ],
        },
    )
    asked: Any = {"plan": PLAN, "options": RunOptions(safety_profile="normal")}
    first = services.start_run("first", project_id="careful", by="tests", **asked)
    seen = IssueReport("slow", "minor", "probe", "speed")
    ports.ledger().record(first.phases.first().pk, [seen], reporter="tests")  # type: ignore[union-attr]
    shown = trials.explain(project, **asked)["runs"][0]
    run = services.start_run("dry-run", project_id="careful", by="tests", **asked)
    assert (run.max_phases, run.strategy.sha256) == (20, shown["strategy_sha256"])


def test_a_plan_document_is_split_and_a_json_plan_is_refused(project: Project) -> None:
    answer = trials.dry_run(project, {"run_max_phases": 1}, PLAN)
    assert [run["run_id"] for run in answer["runs"]] == ["dry-run", "dry-run.2"]
    moved = [
        row for row in answer["differences"] if row["subject"] == "login" and row["name"] == "complexity"
    ]
    assert [(row["run_id"], row["before"], row["after"]) for row in moved] == [
        ("dry-run.2", None, "high"), ("dry-run", "high", None)
    ]  # fmt: skip
    with pytest.raises(TooManyPhases):
        trials.dry_run(project, {"run_max_phases": 1}, PLAN, splits=False)


def test_a_plan_that_the_ruleset_in_force_refuses_is_shown_all_the_same() -> None:
    project = make_project("small", ruleset={"run_max_phases": 1})
    answer = trials.dry_run(project, {"run_max_phases": 3}, PLAN, splits=False)
    assert answer["in_force_refused"]["code"] == "too-many-phases"
    assert all(row["before"] is None for row in answer["differences"])
    assert [row for row in answer["ruleset_differences"] if row["place"] == "run_max_phases"] == [
        {"place": "run_max_phases", "kind": str(Kind.CHANGED), "before": 1, "after": 3}
    ]


def test_a_project_without_a_ruleset_can_try_one_but_explain_none(project: Project) -> None:
    project.ruleset = None
    assert trials.dry_run(project, {}, PLAN)["in_force_version"] is None
    with pytest.raises(NoRuleset):
        trials.explain(project, PLAN)
