"""The five reports against numbers written by hand. `scenario.py` tells what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from runs.tokens import create_token
from strategy.models import Project
from tests.issues.scenario import tell

Get = Callable[[str], Any]


WHOLE = (
    "/metrics/runs",
    "/metrics/runs?status=DONE_SUCCESS",
    "/metrics/tiers/a",
    "/metrics/tiers/d",
    "/reports/budget_analysis",
    "/reports/budget_analysis?project_id=shop",
    "/reports/budget_analysis?since=2026-03-01T03:00:00Z&until=2026-03-01T07:00:00Z",
    "/reports/issue_backlog_summary",
    "/reports/run_summary/a",
)
SCOPED = ("/metrics/runs", "/reports/budget_analysis", "/reports/issue_backlog_summary")


def answers_of(paths: tuple[str, ...], project: Project | None) -> dict[str, Any]:
    http = APIClient()
    http.credentials(HTTP_AUTHORIZATION=f"Bearer {create_token('reader', roles=['reader'], project=project)}")
    found = {path: http.get(path) for path in paths}
    assert {answer.status_code for answer in found.values()} == {200}
    return {path: answer.json() for path, answer in found.items()}


@pytest.fixture(scope="module")
def answers(django_db_setup: None, django_db_blocker: Any) -> dict[str, dict[str, Any]]:
    """What a reader of everything and one of a single project are told, of one telling of the scenario."""
    with django_db_blocker.unblock(), transaction.atomic(), pytest.MonkeyPatch.context() as patch:
        other = tell(patch).other
        found = {"whole": answers_of(WHOLE, None), "scoped": answers_of(SCOPED, other)}
        transaction.set_rollback(True)
    return found


@pytest.fixture
def get(answers: dict[str, dict[str, Any]]) -> Get:
    return answers["whole"].__getitem__


def test_the_metrics_of_runs_are_those_reckoned_by_hand(get: Get):
    # run: state, used, cap, used / cap, minor, major, phases, tiers, ended at (hour)
    reckoned = {
        "g": ("PHASE_QUEUEING", 250, 1_000, 0.25, 0, 0, 3, 3, None),
        # two audits of 5,000 each; a cap of 0 has no share
        "f": ("DONE_FAILED_GATE", 10_000, 0, 0.0, 0, 0, 1, 1, 11),
        "e": ("DONE_FAILED_BUDGET_EXHAUSTED", 0, 500_000, 0.0, 1, 0, 2, 1, 9),
        "d": ("DONE_FAILED_BUDGET_EXHAUSTED", 50_000, 200_000, 0.25, 0, 0, 2, 2, 7),
        "c": ("DONE_FAILED_BUDGET_EXHAUSTED", 110_000, 100_000, 1.1, 0, 0, 2, 2, 5),
        # 200,000 + 40,000 + 60,000
        "b": ("DONE_FAILED_BUDGET_EXHAUSTED", 300_000, 400_000, 0.75, 1, 0, 2, 1, 3),
        # 100,000 + 150,000 + 20,000 + 30,000; k-style is one minor key, k-crash one major key
        "a": ("DONE_SUCCESS", 300_000, 1_000_000, 0.3, 1, 1, 4, 2, 1),
    }
    body = get("/metrics/runs")
    assert body["total_runs"] == 7
    assert body["next_cursor"] is None
    found = {
        row["run_id"]: (
            row["state"], row["tokens_used"], row["token_cap"], row["token_utilization"],
            row["minor_issues_count"], row["major_issues_count"], row["phase_count"], row["tier_count"],
            row["completed_at"] and int(row["completed_at"][11:13]),
        )
        for row in body["runs"]
    }  # fmt: skip
    assert list(found) == list(reckoned), "newest first"
    assert found == reckoned


def test_a_row_of_the_metrics_has_the_contracts_fields_and_types(get: Get):
    assert get("/metrics/runs?status=DONE_SUCCESS") == {
        "total_runs": 1,
        "runs": [
            {
                "run_id": "a",
                "state": "DONE_SUCCESS",
                "safety_profile": "normal",
                "tokens_used": 300_000,
                "token_cap": 1_000_000,
                "token_utilization": 0.3,
                "minor_issues_count": 1,
                "major_issues_count": 1,
                "max_minor_issues_total": 12,  # 3 x 4 phases
                "phase_count": 4,
                "tier_count": 2,
                "started_at": "2026-03-01T00:00:00.000000Z",
                "completed_at": "2026-03-01T01:00:00.000000Z",
            }
        ],
        "next_cursor": None,
    }


def test_the_metrics_of_tiers_are_those_reckoned_by_hand(get: Get):
    assert get("/metrics/tiers/a") == {
        "run_id": "a",
        "tier_count": 2,
        "tiers": [
            {
                "tier_id": "T1", "tier_index": 0, "name": "Tier T1", "state": "PENDING", "cleanliness": "clean",
                "minor_issues_count": 1, "major_issues_count": 1,
                "phase_count": 2, "phase_states": {"COMPLETE": 2},
                "tokens_used": 270_000,  # 100,000 + 150,000 + 20,000
            },
            {
                "tier_id": "T2", "tier_index": 1, "name": "Tier T2", "state": "PENDING", "cleanliness": "clean",
                "minor_issues_count": 0, "major_issues_count": 0,  # what was expected counts nowhere
                "phase_count": 2, "phase_states": {"COMPLETE": 2},
                "tokens_used": 30_000,
            },
        ],
    }  # fmt: skip
    [first, second] = get("/metrics/tiers/d")["tiers"]
    assert (first["phase_states"], second["phase_states"]) == ({"COMPLETE": 1}, {"FAILED": 1})


def test_the_budget_analysis_is_the_one_reckoned_by_hand(get: Get):
    body = get("/reports/budget_analysis")
    assert body["total_budget_failures"] == 4  # b, c, d, e
    assert body["average_token_utilization"] == pytest.approx(0.525)  # (0.75 + 1.1 + 0.25 + 0) / 4
    assert [row["run_id"] for row in body["failures"]] == ["e", "d", "c", "b"], "newest first"
    assert body["failures"][3] == {
        "run_id": "b",
        "state": "DONE_FAILED_BUDGET_EXHAUSTED",
        "tokens_used": 300_000,
        "token_cap": 400_000,
        "token_utilization": 0.75,
        "phase_count": 2,
        "max_phases": 1000,
        "minor_issues_count": 1,
        "max_minor_issues_total": 6,  # 3 x 2 phases
        "started_at": "2026-03-01T02:00:00.000000Z",
        "completed_at": "2026-03-01T03:00:00.000000Z",
    }
    assert body["by_limit"] == {
        "incident_token_cap": 1,  # b
        "run_max_minor_issues_total": 1,  # e
        "run_token_cap": 1,  # c
        "tier_ci_run_cap": 1,  # d
    }
    assert body["by_tier"] == {
        "T1": {
            "failures": 2,
            "tokens_used": 300_000,
        },  # b: 240,000 + 60,000; no phase of c failed by a budget
        "T2": {"failures": 1, "tokens_used": 50_000},  # d
    }
    assert body["by_category_complexity"] == {
        "docs:low": {"failures": 2, "tokens_used": 300_000},
        "tests:low": {"failures": 1, "tokens_used": 50_000},
    }
    assert body["audits_helped"] == {
        "audits": 4,  # a 1, b 1, f 2; g has not ended
        "phases": 3,  # a/P2, b/P1, f/P1
        "completed": 1,  # a/P2
        "share": pytest.approx(1 / 3),
        "objections": 1,  # b/P2; the gate itself had found d/P2
        "tokens_used": 70_000,  # 20,000 + 40,000 + 5,000 + 5,000
    }


def test_the_budget_analysis_by_agent_and_model_is_the_one_reckoned_by_hand(get: Get):
    body = get("/reports/budget_analysis")
    builder, auditor = body["by_agent"]["builder"], body["by_agent"]["auditor"]
    assert list(body["by_agent"]) == ["builder", "auditor"], "who spent most comes first"
    assert builder == {
        "attempts": 8,  # a: P1, P2, P3; b: P1, P2 twice; c: P1; d: P2
        "merged": 3,
        "tokens_used": 700_000,  # 280,000 + 260,000 + 110,000 + 50,000
        "unknown_usage": 1,  # b/P2, the second
        "overrun": 10_000,  # a/P1: 100,000 of 90,000
        "cost_usd": 1.75,  # 1.25 + 0.5
        "reported_usd": 1.75,
        "priced_usd": None,  # no table knows these models
        "unknown_cost": 6,
    }
    assert list(body["by_envelope"]) == ["build", "audit"]
    assert body["by_envelope"] == {"build": builder, "audit": auditor}  # each has one agent here
    assert auditor == {
        "attempts": 6,  # a 1, b 1 and its objection, d's objection, f 2
        "merged": 0,
        "tokens_used": 70_000,
        "unknown_usage": 0,
        "overrun": 0,
        "cost_usd": None,  # nothing is known, which is not 0
        "reported_usd": None,
        "priced_usd": None,
        "unknown_cost": 6,
    }
    models = {
        name: (row["attempts"], row["tokens_used"], row["cost_usd"]) for name, row in body["by_model"].items()
    }
    assert models == {
        "unknown": (10, 500_000, None),  # 770,000 less the two below
        "m-small": (2, 150_000, 0.5),
        "m-large": (2, 120_000, 1.25),
    }
    assert body["cost_per_accepted_phase"] == {
        "accepted_phases": 5,  # four of a, d/P1
        "tokens": 154_000.0,  # 770,000 / 5
        "cost_usd": 0.35,  # 1.75 / 5
        "unknown_usage": 1,
        "unknown_cost": 12,
    }
    assert body["overrun"] == {
        "runs": 2,
        "tokens": 20_000,
        "cost_usd": 0.0,
    }  # c: 110,000 of 100,000; f: 10,000 of 0


def test_the_budget_analysis_of_one_project_leaves_the_others_out(get: Get):
    body = get("/reports/budget_analysis?project_id=shop")
    assert [row["run_id"] for row in body["failures"]] == ["d", "c", "b"]
    assert body["average_token_utilization"] == pytest.approx(0.7)  # (0.75 + 1.1 + 0.25) / 3
    assert body["audits_helped"]["share"] == 0.5  # a/P2 completed, b/P1 did not


def test_the_budget_analysis_of_a_window_takes_runs_that_ended_in_it(get: Get):
    # b ended at 03:00, c at 05:00, d at 07:00: the window has its start and not its end
    body = get("/reports/budget_analysis?since=2026-03-01T03:00:00Z&until=2026-03-01T07:00:00Z")
    assert [row["run_id"] for row in body["failures"]] == ["c", "b"]
    assert body["average_token_utilization"] == pytest.approx(0.925)  # (0.75 + 1.1) / 2
    assert body["by_limit"] == {"incident_token_cap": 1, "run_token_cap": 1}
    assert body["audits_helped"]["phases"] == 1


def test_the_backlog_summary_is_the_one_reckoned_by_hand(get: Get):
    body = get("/reports/issue_backlog_summary")
    assert (
        body["total_issues"] == 5
    )  # k-style, k-crash, k-new, k-old, k-back; an expected one is not remembered
    assert body["open_count"] == 2  # k-new, and k-back which was reopened
    assert body["needs_cleanup_count"] == 2  # seen in a; b, c and d aged them to 3, the threshold
    assert body["resolved_count"] == 1  # k-old
    ages = [(key, entry["age_in_runs"]) for key, entry in body["top_aging_issues"]]
    assert ages == [("k-crash", 3), ("k-style", 3), ("k-new", 2), ("k-back", 1)]  # k-new: c, d
    assert [key for key, _entry in body["needs_cleanup"]] == ["k-crash", "k-style"]
    assert body["needs_cleanup"][1][1] == {
        "category": "test_failure",
        "base_severity": "minor",
        "age_in_runs": 3,
        "age_in_tiers": 0,
        "first_seen_run_id": "a",
        "last_seen_run_id": "a",
        "last_seen_at": "2026-03-01T00:00:00.000000Z",
        "seen_in_tiers": ["T1"],
        "status": "needs_cleanup",
    }


def test_the_run_summary_is_the_one_reckoned_by_hand(get: Get):
    body = get("/reports/run_summary/a")
    assert body["budgets"] == {
        "tokens_used": 300_000,
        "token_cap": 1_000_000,
        "token_utilization": 0.3,
        "phase_count": 4,
        "max_phases": 1000,
    }
    # k-style, k-crash and the expected one, which counts as neither
    assert body["issues"] == {"minor_count": 1, "major_count": 1, "max_minor_total": 12, "distinct_issues": 3}
    assert [(tier["tier_id"], tier["phase_count"], tier["minor_issues"], tier["major_issues"],
             tier["tokens_used"]) for tier in body["tiers"]] == [
        ("T1", 2, 1, 1, 270_000), ("T2", 2, 0, 0, 30_000),
    ]  # fmt: skip
    assert [(phase["phase_id"], phase["builder_attempts"], phase["auditor_attempts"], phase["tokens_used"],
             phase["minor_issues"], phase["major_issues"]) for phase in body["phases"]] == [
        ("P1", 1, 0, 100_000, 1, 0), ("P2", 1, 1, 170_000, 1, 1), ("P3", 1, 0, 30_000, 0, 0), ("P4", 1, 0, 0, 0, 0),
    ]  # fmt: skip
    assert (body["run_id"], body["state"], body["safety_profile"], body["run_scope"]) == (
        "a", "DONE_SUCCESS", "normal", "multi_tier",
    )  # fmt: skip
    assert (body["started_at"], body["completed_at"]) == (
        "2026-03-01T00:00:00.000000Z",
        "2026-03-01T01:00:00.000000Z",
    )
    assert set(body["phases"][0]) == {
        "phase_id", "phase_index", "name", "state", "task_category", "complexity", "builder_attempts",
        "auditor_attempts", "tokens_used", "minor_issues", "major_issues",
    }  # fmt: skip


def test_a_token_of_one_project_sees_that_projects_figures(answers: dict[str, dict[str, Any]]):
    scoped = answers["scoped"]
    assert [row["run_id"] for row in scoped["/metrics/runs"]["runs"]] == ["g", "f", "e"]
    assert scoped["/reports/budget_analysis"]["by_limit"] == {"run_max_minor_issues_total": 1}
    assert scoped["/reports/issue_backlog_summary"]["total_issues"] == 1  # k-else
