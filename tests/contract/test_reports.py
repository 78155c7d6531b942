"""The five reports: /metrics/runs, /metrics/tiers, issue_backlog_summary, budget_analysis, run_summary."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import plan, wait_for
from tests.contract.served import Api, Served
from tests.contract.shapes import (
    CLEANLINESS,
    PHASE_STATE,
    RUN_STATE,
    TIER_STATE,
    count,
    faults,
    maybe,
    ratio,
    text,
    thing,
    time,
)

pytestmark = pytest.mark.real
RUN_ROW = {
    "run_id": text, "state": RUN_STATE, "safety_profile": text, "tokens_used": count, "token_cap": count,
    "token_utilization": ratio, "minor_issues_count": count, "major_issues_count": count,
    "max_minor_issues_total": count, "phase_count": count, "tier_count": count, "started_at": maybe(time),
    "completed_at": maybe(time),
}  # fmt: skip
TIER_ROW = {
    "tier_id": text, "tier_index": count, "name": text, "state": TIER_STATE, "cleanliness": CLEANLINESS,
    "minor_issues_count": count, "major_issues_count": count, "phase_count": count, "phase_states": thing,
    "tokens_used": count,
}  # fmt: skip
FAILURE = {
    "run_id": text, "state": RUN_STATE, "tokens_used": count, "token_cap": count, "token_utilization": ratio,
    "phase_count": count, "max_phases": count, "minor_issues_count": count, "max_minor_issues_total": count,
    "started_at": maybe(time), "completed_at": maybe(time),
}  # fmt: skip
SUMMARY = {
    "run_id": text, "state": RUN_STATE, "safety_profile": text, "run_scope": text,
    "budgets": {"tokens_used": count, "token_cap": count, "token_utilization": ratio, "phase_count": count,
                "max_phases": count},
    "issues": {"minor_count": count, "major_count": count, "max_minor_total": count, "distinct_issues": count},
    "tiers": [{"tier_id": text, "name": text, "state": TIER_STATE, "phase_count": count, "minor_issues": count,
               "major_issues": count, "tokens_used": count}],
    "phases": [{"phase_id": text, "phase_index": count, "name": text, "state": PHASE_STATE, "task_category": text,
                "complexity": text, "builder_attempts": count, "auditor_attempts": count, "tokens_used": count,
                "minor_issues": count, "major_issues": count}],
    "started_at": maybe(time), "completed_at": maybe(time),
}  # fmt: skip
ROUTES = [
    "/metrics/runs", "/metrics/tiers/x", "/reports/issue_backlog_summary", "/reports/budget_analysis",
    "/reports/run_summary/x",
]  # fmt: skip


def of_contract(answer: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that the contract fixes, all of them: a report may add others."""
    return {name: answer[name] for name in names}


@pytest.fixture
def spent(operator: Api, fresh_id: str) -> str:
    """The id of a run of two phases whose first has used 42 tokens."""
    assert operator.post("/runs/start", plan(fresh_id, project=None, token_cap=4_200_000)).status == 201
    path = f"/runs/{fresh_id}/phases/p1/update_status"
    assert operator.post(path, {"state": "QUEUED", "tokens_used": 42}).status == 200
    return fresh_id


def test_runs_are_measured_newest_first_in_the_shape_of_the_contract(reader: Api, spent: str):
    answer = reader.get("/metrics/runs")
    assert answer.status == 200
    found = of_contract(answer.body, ("total_runs", "runs"))
    assert not faults(found, {"total_runs": count, "runs": [RUN_ROW]})
    row = found["runs"][0]
    assert (row["run_id"], row["tokens_used"], row["token_cap"]) == (spent, 42, 4_200_000)
    assert row["token_utilization"] == pytest.approx(0.00001)
    assert (row["phase_count"], row["tier_count"], row["max_minor_issues_total"]) == (2, 1, 6)


def test_runs_are_measured_in_pages(operator: Api, reader: Api, spent: str, fresh_id: str):
    assert operator.post("/runs/start", plan(f"{fresh_id}.b", project=None)).status == 201
    first = reader.get("/metrics/runs?limit=1").body
    assert [row["run_id"] for row in first["runs"]] == [f"{fresh_id}.b"]
    assert first["total_runs"] >= 2
    second = reader.get(f"/metrics/runs?limit=1&cursor={first['next_cursor']}").body
    assert [row["run_id"] for row in second["runs"]] == [spent]


def test_runs_are_measured_by_state(operator: Api, reader: Api, spent: str):
    operator.post(f"/runs/{spent}/cancel", {})
    found = reader.get("/metrics/runs?status=DONE_CANCELLED").body
    assert spent in [row["run_id"] for row in found["runs"]]
    assert {row["state"] for row in found["runs"]} == {"DONE_CANCELLED"}
    assert spent not in [
        row["run_id"] for row in reader.get("/metrics/runs?status=DONE_SUCCESS").body["runs"]
    ]


def test_a_run_state_that_does_not_exist_is_400(reader: Api):
    answer = reader.get("/metrics/runs?status=LOST")
    assert (answer.status, answer.body["detail"]) == (400, "Invalid run state: LOST")


def test_the_tiers_of_a_run_are_measured(reader: Api, spent: str):
    answer = reader.get(f"/metrics/tiers/{spent}")
    assert answer.status == 200
    assert not faults(answer.body, {"run_id": text, "tier_count": count, "tiers": [TIER_ROW]})
    [tier] = answer.body["tiers"]
    assert (answer.body["run_id"], answer.body["tier_count"], tier["tier_id"]) == (spent, 1, "t1")
    assert (tier["phase_count"], tier["phase_states"], tier["tokens_used"]) == (2, {"QUEUED": 2}, 42)


def test_a_run_is_summed_up(builder: Api, reader: Api, spent: str):
    form = "issue_key=summed&severity=major&source=probe&category=style"
    assert builder.post(f"/runs/{spent}/phases/p2/record_issue?{form}").status == 200
    answer = reader.get(f"/reports/run_summary/{spent}")
    assert answer.status == 200
    found = answer.body
    assert not faults(found, SUMMARY)
    assert found["budgets"]["tokens_used"] == found["tiers"][0]["tokens_used"] == 42
    assert [(row["phase_id"], row["tokens_used"], row["major_issues"]) for row in found["phases"]] == [
        ("p1", 42, 0),
        ("p2", 0, 1),
    ]
    assert found["issues"] == {"minor_count": 0, "major_count": 1, "max_minor_total": 6, "distinct_issues": 1}


@pytest.mark.parametrize("path", ["/metrics/tiers/nowhere", "/reports/run_summary/nowhere"])
def test_an_absent_run_is_404(reader: Api, path: str):
    answer = reader.get(path)
    assert (answer.status, answer.body["detail"]) == (404, "Run nowhere not found")


def test_the_backlog_is_summed_up_with_the_ten_oldest(operator: Api, builder: Api, reader: Api, started: str):
    path = f"/runs/{started}/phases/p1/record_issue"
    for number in range(11):
        body = {"issue_key": f"r{number}", "severity": "minor", "source": "probe", "category": "style"}
        assert builder.post(path, body).status == 200
    answer = reader.get("/reports/issue_backlog_summary?project_id=noisy")
    assert answer.status == 200
    names = ("total_issues", "open_count", "needs_cleanup_count", "top_aging_issues", "needs_cleanup")
    found = of_contract(answer.body, names)
    counts = [found[name] for name in names[:3]]
    assert all(count(value) for value in counts)
    assert found["total_issues"] >= 11
    top = found["top_aging_issues"]
    assert len(top) == 10
    assert all(text(key) and thing(entry) for key, entry in top)
    ages = [entry["age_in_runs"] for _, entry in top]
    assert ages == sorted(ages, reverse=True)
    assert isinstance(found["needs_cleanup"], list)


def test_a_run_that_its_budget_ended_is_analysed(operator: Api, reader: Api, fresh_id: str):
    assert operator.post("/runs/start", plan(fresh_id, project="ends", token_cap=7)).status == 201
    path = f"/runs/{fresh_id}/phases/p1/update_status"
    assert operator.post(path, {"state": "SKIPPED", "tokens_used": 7}).status == 200
    run = wait_for(reader, fresh_id, lambda run: run["state"].startswith("DONE_"))
    assert run["state"] == "DONE_FAILED_BUDGET_EXHAUSTED"
    answer = reader.get("/reports/budget_analysis?project_id=ends")
    assert answer.status == 200
    names = ("total_budget_failures", "average_token_utilization", "failures")
    found = of_contract(answer.body, names)
    assert not faults(
        found, {"total_budget_failures": count, "average_token_utilization": ratio, "failures": [FAILURE]}
    )
    assert found["total_budget_failures"] == len(found["failures"]) >= 1
    row = next(row for row in found["failures"] if row["run_id"] == fresh_id)
    assert (row["token_cap"], row["tokens_used"], row["token_utilization"]) == (7, 7, 1.0)
    assert (row["phase_count"], row["max_phases"]) == (2, 25)
    for name in ("by_limit", "by_tier", "by_category_complexity", "audits_helped"):
        assert name in answer.body


@pytest.mark.parametrize("path", ROUTES)
def test_a_report_needs_a_token(served: Served, path: str):
    answer = served["nobody"].get(path)
    assert answer.status == 401
    assert answer.is_problem


@pytest.mark.parametrize("path", ["/metrics/tiers/a..b", "/reports/run_summary/.a", "/metrics/runs?limit=0"])
def test_a_faulty_question_is_422(reader: Api, path: str):
    assert reader.get(path).status == 422
