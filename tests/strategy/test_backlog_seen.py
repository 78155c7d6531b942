"""What is kept of a backlog: enough for other thresholds, in rows that don't grow with the number of entries."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategy.backlog import OLDEST, BacklogSeen, is_aged, is_live
from strategy.types import BacklogItem
from strategy.validation import schema
from tests.strategy.builders import aged, compiled, phase

ITEMS = st.lists(
    st.builds(
        aged,
        st.uuids().map(str),
        base_severity=st.sampled_from(("minor", "major", "critical")),
        age_in_runs=st.integers(0, 6),
        age_in_tiers=st.integers(0, 6),
        status=st.sampled_from(("open", "reopened", "needs_cleanup", "resolved", "accepted")),
    ),
    max_size=30,
)


@given(ITEMS, st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_it_counts_under_any_thresholds_what_the_entries_themselves_would(
    items: list[BacklogItem], thresholds: tuple[int, int]
) -> None:
    live = [item for item in items if is_live(item)]
    of_age = [
        item for item in live if is_aged(item, runs_threshold=thresholds[0], tiers_threshold=thresholds[1])
    ]
    majors = [item for item in live if item.base_severity != "minor"]
    kept = BacklogSeen.from_json(json.loads(json.dumps(BacklogSeen.of(items).to_json())))
    assert kept.counts(thresholds) == (len(live), len(of_age), len(majors))
    assert BacklogSeen.of(reversed(items)) == kept


def test_entries_that_are_alike_share_a_row() -> None:
    many = tuple(aged(f"k{number}", f"src/{number}.py") for number in range(500))
    assert compiled(phase("a"), backlog=many).backlog_seen == [[0, 0, 4, 0, 500]]


def test_rows_stay_few_where_the_ages_are_many() -> None:
    marked = tuple(aged(f"m{n}", age_in_runs=n, status="needs_cleanup") for n in range(300))
    ancient = tuple(aged(f"a{n}", age_in_runs=n, age_in_tiers=n) for n in range(OLDEST, OLDEST + 300))
    seen = compiled(phase("a"), backlog=(*marked, *ancient)).backlog_seen
    assert seen == [[0, 0, OLDEST, OLDEST, 300], [0, 1, 0, 0, 300]]


@pytest.mark.parametrize("counter", ["runs", "tiers"])
def test_no_ruleset_has_a_threshold_that_is_not_kept(counter: str) -> None:
    known = schema("ruleset")["$defs"]["safety_profile"]["properties"]
    assert known[f"minor_issue_aging_{counter}_threshold"]["maximum"] == OLDEST


@pytest.mark.parametrize("status", ["resolved", "accepted"])
def test_what_is_not_live_is_not_kept(status: str) -> None:
    assert compiled(phase("a"), backlog=(aged("k", status=status),)).backlog_seen == []
