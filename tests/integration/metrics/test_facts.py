"""Counters and histograms, right to the number, before and after days are sealed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from integration.metrics import exposition, totals
from integration.models import MetricSeal, MetricTotal
from runs.models import Attempt
from tests.factories import make_phase, make_project, make_run
from tests.integration.metrics.rows import ago, applied, attempt, gate, lease, scraped, spend

pytestmark = pytest.mark.django_db
GATE, APPLY = "autopack_gate_duration_seconds", "autopack_apply_duration_seconds"


@pytest.fixture(autouse=True)
def _own_redis(redis_url: str) -> None:
    """Every test starts with an empty broker."""


@pytest.fixture
def build() -> Attempt:
    return attempt(make_run(make_project("shop")).phases.earliest("phase_index"))


def happened(build: Attempt, **when: float) -> None:
    """Write one of everything that is counted, so long ago."""
    at = ago(**when)
    gate(build, 4.0, "green", at=at)
    gate(build, 40.0, "flaky", at=at)
    applied(build, 0.2, at=at)
    spend(build, 100, at=at)
    spend(build, None, at=at)
    lease(build, at=at)


def counted() -> dict[str, dict[tuple[str, ...], float]]:
    """Return what was counted from rows, without the seal's own time."""
    names = ("gate_duration", "apply_duration", "flaky", "tokens", "usage", "cost", "expiries")
    return {name: found for name, found in scraped().items() if any(word in name for word in names)}


def test_gates_fall_into_the_buckets_of_their_time(build: Attempt):
    for seconds in (0.5, 1.0, 1.5, 59.0, 4000.0):
        gate(build, seconds)
    gate(build, 20.0, "red")
    found = scraped()
    series = found[f"{GATE}_bucket"].items()
    buckets = {float(le): value for (le, *labels), value in series if labels == ["normal", "green"]}
    # 0.5 and 1.0 are at most 1; 1.5 at most 5; 59 at most 60; 4000 above every bound
    assert (buckets[1.0], buckets[5.0], buckets[30.0], buckets[60.0], buckets[3600.0]) == (2, 3, 3, 4, 4)
    assert buckets[float("inf")] == found[f"{GATE}_count"][("normal", "green")] == 5
    assert found[f"{GATE}_sum"][("normal", "green")] == pytest.approx(4062.0)  # 0.5 + 1 + 1.5 + 59 + 4000
    assert found[f"{GATE}_sum"][("normal", "red")] == pytest.approx(20.0)


def test_a_gate_that_never_began_has_no_duration(build: Attempt):
    one = gate(build, 1.0, "infra_failed")
    type(one).objects.filter(pk=one.pk).update(started_at=None)
    assert set(scraped()[f"{GATE}_count"].values()) == {0}


def test_series_of_known_labels_are_there_before_anything_happened(build: Attempt):
    found = scraped()
    assert found[f"{GATE}_count"][("strict", "infra_failed")] == 0
    assert found[f"{GATE}_bucket"][("+Inf", "normal", "green")] == 0
    assert found["autopack_lease_expiries_total"] == found["autopack_flaky_gates_total"] == {("shop",): 0}


def test_flaky_gates_are_counted_by_project(build: Attempt):
    for verdict in ("flaky", "flaky", "green"):
        gate(build, 1.0, verdict)
    assert scraped()["autopack_flaky_gates_total"] == {("shop",): 2}


def test_applying_takes_from_submission_to_candidate_or_refusal(build: Attempt):
    applied(build, 0.3)
    applied(attempt(build.phase), 3.0, "attempt_refused")
    applied(attempt(build.phase), 9.0, "claimed")
    found = scraped()
    assert found[f"{APPLY}_count"] == {("candidate",): 1, ("refused",): 1}
    assert found[f"{APPLY}_sum"] == {("candidate",): pytest.approx(0.3), ("refused",): pytest.approx(3.0)}
    assert found[f"{APPLY}_bucket"][("0.25", "candidate")] == 0
    assert found[f"{APPLY}_bucket"][("0.5", "candidate")] == 1


def test_tokens_are_counted_by_project_and_agent(build: Attempt):
    spend(build, 1000, "reserve")
    spend(build, 700)
    spend(build, 50, "adjust")
    spend(build, -20, "adjust")
    other = attempt(make_run(make_project("web")).phases.earliest("pk"), "reviewer")
    spend(other, 5)
    spend(other, None)
    found = scraped()
    # labels are in the order of their names: agent, project
    assert found["autopack_tokens_total"] == {("builder", "shop"): 750, ("reviewer", "web"): 5}  # 700 + 50
    assert found["autopack_tokens_returned_total"] == {("builder", "shop"): 20}
    assert found["autopack_usage_unknown_total"] == {("reviewer", "web"): 1}


def test_a_correction_by_an_operator_is_nobodys_work(build: Attempt):
    spend(build, 7, "adjust")
    line = spend(build, 3, "adjust")
    assert line.attempt is not None
    build.agent = ""
    build.save()
    assert scraped()["autopack_tokens_total"] == {("none", "shop"): 10}


def test_money_is_counted_as_the_ledger_books_it(build: Attempt):
    for cost in (250_000, 1_500_000, None, 0):
        spend(build, 10, micro_usd=cost)
    spend(build, 5, "adjust", micro_usd=40_000)  # what a late report adds
    spend(build, 10, "reserve", micro_usd=9_000_000)
    assert scraped()["autopack_cost_usd_total"] == {("builder", "shop"): pytest.approx(1.79)}


def test_lease_expiries_are_counted_by_project(build: Attempt):
    for reason in ("expired", "submitted", "expired"):
        lease(build, reason)
    assert scraped()["autopack_lease_expiries_total"] == {("shop",): 2}


def like(figures: dict[str, Any]) -> dict[str, Any]:
    """The same figures, however their seconds were added up."""
    return {name: pytest.approx(values) for name, values in figures.items()}


def test_sealing_a_day_changes_no_figure(build: Attempt):
    for hours in (1, 30, 80, 200):
        happened(build, hours=hours)
    before = counted()
    assert totals.seal()
    assert MetricTotal.objects.exists()
    assert counted() == like(before)


def test_a_sealed_day_is_added_to_what_was_sealed_before(build: Attempt, monkeypatch: pytest.MonkeyPatch):
    happened(build, days=9)
    happened(build, days=5)
    now = clock.database_now()
    with monkeypatch.context() as patch:
        patch.setattr(clock, "database_now", lambda: now - timedelta(days=6))
        assert totals.seal()
    sealed = MetricSeal.objects.get().until
    before = counted()
    assert before["autopack_tokens_total"] == {("builder", "shop"): 200}
    assert totals.seal()
    assert MetricSeal.objects.get().until > sealed
    assert counted() == like(before)


def test_sealing_twice_counts_once(build: Attempt):
    happened(build, days=4)
    assert totals.seal()
    before = counted()
    assert not totals.seal()
    assert counted() == like(before)


def test_today_and_yesterday_are_never_sealed():
    totals.seal()
    until = MetricSeal.objects.get().until
    midnight = clock.database_now().replace(hour=0, minute=0, second=0, microsecond=0)
    assert until == midnight - timedelta(days=1)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many values a label may have, for a short test."""
    monkeypatch.setattr(exposition, "MAX_VALUES", 4)
    return 4


def test_agents_beyond_the_first_are_told_together_and_counters_never_fall(build: Attempt, few: int):
    for number in range(few + 3):
        spend(attempt(build.phase, f"agent-{number:02}"), 1, at=ago(days=6, seconds=-number))
    totals.seal()
    before = scraped()["autopack_tokens_total"]
    assert len(before) == few + 1
    assert before[("other", "shop")] == 3
    spend(attempt(build.phase, f"agent-{few:02}"), 1_000_000)  # the largest of all by now
    after = scraped()["autopack_tokens_total"]
    assert set(after) == set(before)
    assert all(after[labels] >= value for labels, value in before.items())


def test_projects_beyond_the_first_are_told_together(few: int):
    phase = make_phase()
    for number in range(few):
        make_project(f"p{number}")
    late = make_run(make_project("late")).phases.earliest("pk")
    spend(attempt(phase), 1)
    spend(attempt(late), 2)
    assert scraped()["autopack_tokens_total"] == {
        ("builder", phase.run.project.project_id): 1,
        ("builder", "other"): 2,
    }


def test_what_hostile_names_hold_stays_within_its_label(build: Attempt):
    name = 'a"} 1\nautopack_runs{state="GATE'
    spend(attempt(build.phase, name), 1)
    assert (name, "shop") in scraped()["autopack_tokens_total"]


def test_a_scrape_takes_the_same_number_of_queries_at_any_size(build: Attempt):
    scraped()
    counts = []
    for _ in range(2):
        for number in range(5):
            run = make_run(make_project(), phases_per_tier=1)
            happened(attempt(run.phases.earliest("pk"), f"agent-{number}"), days=number % 4)
        with CaptureQueriesContext(connection) as queries:
            scraped()
        counts.append(len(queries))
        totals.seal()
    assert counts[0] == counts[1]
    assert counts[0] <= 28
