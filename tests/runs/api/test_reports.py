"""Metrics of runs and tiers and the budget analysis: filters, pages, refusals, and what they cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from runs.models import Phase, Run, Tier
from strategy.models import Project, Strategy
from tests.factories import make_run
from tests.runs.api.conftest import Api, api_for, make_project, problem_of

pytestmark = pytest.mark.django_db
REPORTS = ["/metrics/runs", "/metrics/tiers/r1", "/reports/budget_analysis"]


def names(answer: Any, key: str = "runs") -> list[str]:
    assert answer.status_code == 200, answer.content
    return [run["run_id"] for run in answer.json()[key]]


def many_runs(project: Project, count: int, *, first: int = 0, **fields: Any) -> None:
    """Write runs like one of the factory's, a tier and two phases each, newest last."""
    like = make_run(project, run_id=f"like-{first}", **fields)
    tier, phases = like.tiers.get(), list(like.phases.all())
    names = [f"many-{number:05}" for number in range(first, first + count - 1)]
    ruleset = like.strategy.ruleset_id
    strategies = Strategy.objects.bulk_create(
        Strategy(run_id=name, project=project, ruleset_id=ruleset, document={}, canonical="", sha256="")
        for name in names
    )
    runs: list[Run] = []
    for number, (name, strategy) in enumerate(zip(names, strategies, strict=True)):
        run = Run.objects.get(pk=like.pk) if number == 0 else runs[0]
        values = {field.attname: getattr(run, field.attname) for field in Run._meta.concrete_fields}
        created_at = like.created_at + timedelta(seconds=number + 1)
        runs.append(Run(**{**values, "run_id": name, "strategy_id": strategy.pk, "created_at": created_at}))
    Run.objects.bulk_create(runs)
    tiers = Tier.objects.bulk_create(_copy(tier, run_id=name) for name in names)
    Phase.objects.bulk_create(
        _copy(phase, run_id=own.run_id, tier_id=own.pk) for own in tiers for phase in phases
    )


def _copy(row: Any, **changes: Any) -> Any:
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return type(row)(**{**values, "id": None, **changes})


@pytest.mark.parametrize("path", ["/metrics/runs", "/reports/budget_analysis"])
def test_a_report_takes_the_same_number_of_queries_at_any_size(project: Project, reader: Api, path: str):
    reader.get(path)  # the token's last use is written once
    ended = {"state": "DONE_FAILED_BUDGET_EXHAUSTED", "completed_at": clock.now()}
    counts = []
    for size, first in ((10, 0), (300, 1000)):
        many_runs(project, size, first=first, **ended)
        with CaptureQueriesContext(connection) as queries:
            answer = reader.get(path)
        assert len(names(answer, "runs" if "metrics" in path else "failures")) == size + (first and 10)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert counts[1] <= (14 if "budget" in path else 8)


def test_the_metrics_of_tiers_take_the_same_number_of_queries_at_any_size(project: Project, reader: Api):
    reader.get("/metrics/tiers/none")
    counts = []
    for run_id, tiers in (("small", 1), ("large", 20)):
        make_run(project, run_id=run_id, tiers=tiers)
        with CaptureQueriesContext(connection) as queries:
            assert reader.get(f"/metrics/tiers/{run_id}").json()["tier_count"] == tiers
        counts.append(len(queries))
    assert counts == [4, 4], "token, run, tiers, phases"


def test_pages_of_metrics_hold_every_run_once(project: Project, reader: Api):
    many_runs(project, 7)
    seen, cursor = [], ""
    while True:
        body = reader.get(f"/metrics/runs?limit=3{cursor}").json()
        assert body["total_runs"] == 7
        seen += [run["run_id"] for run in body["runs"]]
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
    assert seen == [*(f"many-{number:05}" for number in reversed(range(6))), "like-0"]


def test_pages_of_the_budget_analysis_keep_the_figures_of_all(project: Project, reader: Api):
    many_runs(project, 5, state="DONE_FAILED_BUDGET_EXHAUSTED", completed_at=clock.now())
    body = reader.get("/reports/budget_analysis?limit=2").json()
    rest = reader.get(f"/reports/budget_analysis?limit=9&cursor={body['next_cursor']}").json()
    assert (len(body["failures"]), len(rest["failures"])) == (2, 3)
    assert body["total_budget_failures"] == rest["total_budget_failures"] == 5


def test_metrics_are_filtered_by_state_and_project(project: Project, reader: Api):
    make_run(project, run_id="live")
    make_run(project, run_id="gone", state="DONE_CANCELLED", completed_at=clock.now())
    make_run(make_project("other", is_default=False), run_id="there")
    assert names(reader.get("/metrics/runs?status=DONE_CANCELLED")) == ["gone"]
    assert sorted(names(reader.get("/metrics/runs?project_id=demo&status="))) == ["gone", "live"]
    body = reader.get("/metrics/runs?status=GATE").json()
    assert body == {"total_runs": 0, "runs": [], "next_cursor": None}


@pytest.mark.parametrize("state", ["LOST", "phase_queueing", "GATE%20", "%3Cb%3E"])
def test_a_state_that_is_none_is_400(reader: Api, state: str):
    body = problem_of(reader.get(f"/metrics/runs?status={state}"), 400, "invalid-run-state")
    assert body["detail"].startswith("Invalid run state: ")


def test_the_refusal_names_the_state_as_it_was_sent(reader: Api):
    body = problem_of(reader.get("/metrics/runs?status=DONE"), 400, "invalid-run-state")
    assert body["detail"] == "Invalid run state: DONE"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/metrics/runs?limit=0", "limit"),
        ("/metrics/runs?limit=1001", "limit"),
        ("/metrics/runs?cursor=x", "cursor"),
        ("/metrics/runs?status=%00", "status"),
        ("/reports/budget_analysis?since=yesterday", "since"),
        ("/reports/budget_analysis?until=2026-13-01T00:00:00Z", "until"),
        ("/reports/budget_analysis?since=0001-01-01T00:00:00%2B23:59", "since"),
        ("/reports/budget_analysis?project_id=..", "project_id"),
    ],
)
def test_a_faulty_query_of_a_report_says_where(reader: Api, path: str, name: str):
    assert problem_of(reader.get(path), 422, "invalid")["detail"][0]["loc"] == ["query", name]


def test_tiers_of_an_absent_run_are_not_found(reader: Api):
    body = problem_of(reader.get("/metrics/tiers/nowhere"), 404, "run-not-found")
    assert body["detail"] == "Run nowhere not found"


def test_tiers_of_another_projects_run_are_not_found(project: Project):
    make_run(project, run_id="r1")
    scoped = api_for("reader", name="scoped", project=make_project("other", is_default=False))
    problem_of(scoped.get("/metrics/tiers/r1"), 404, "run-not-found")


def test_an_analysis_without_failures_is_all_zeros(project: Project, reader: Api):
    make_run(project)
    assert reader.get("/reports/budget_analysis").json() == {
        "total_budget_failures": 0,
        "average_token_utilization": 0.0,
        "failures": [],
        "by_limit": {},
        "by_tier": {},
        "by_category_complexity": {},
        "overrun": {"runs": 0, "tokens": 0, "cost_usd": 0.0},
        "by_envelope": {},
        "by_agent": {},
        "by_model": {},
        "cost_per_accepted_phase": {
            "accepted_phases": 0,
            "tokens": None,
            "cost_usd": None,
            "unknown_usage": 0,
            "unknown_cost": 0,
        },
        "audits_helped": {
            "audits": 0,
            "phases": 0,
            "completed": 0,
            "share": 0.0,
            "objections": 0,
            "tokens_used": 0,
        },
        "next_cursor": None,
    }


@pytest.mark.parametrize("path", REPORTS)
def test_a_report_needs_a_token_of_any_role(project: Project, anonymous: Api, path: str):
    make_run(project, run_id="r1")
    problem_of(anonymous.get(path), 401, "not-authenticated")
    for role in ("operator", "builder", "auditor", "verifier", "reader"):
        assert api_for(role).get(path).status_code == 200
