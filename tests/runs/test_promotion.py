"""What stands against a promotion (SPEC section 10), fact by fact."""

from __future__ import annotations

from typing import Any

import pytest

from autopack_site.kernel import clock
from runs.models import Run, Tier
from runs.promotion import is_eligible


def a_run(**changes: Any) -> Run:
    fields = {
        "state": "DONE_SUCCESS",
        "completed_at": clock.now(),
        "tokens_used": 10,
        "token_cap": 10,
        "minor_issues_count": 3,
        "max_minor_issues_total": 3,
    }
    return Run(**{**fields, **changes})


def test_a_clean_success_is_eligible():
    assert is_eligible(a_run(), [Tier(tier_id="t1", cleanliness="clean")]) == (True, [])


@pytest.mark.parametrize(
    ("changes", "cleanliness", "reason"),
    [
        ({"state": "DONE_FAILED_GATE"}, "clean", "not-successful: the run is DONE_FAILED_GATE"),
        ({"completed_at": None}, "clean", "no-run-summary: the run has not ended"),
        ({}, "not_clean", "tier-not-clean: t1"),
        ({"tokens_used": 11}, "clean", "budget-failure: 11 of 10 tokens are used"),
        ({"minor_issues_count": 4}, "clean", "excess-minor-issues: 4 of 3 allowed"),
    ],
)
def test_each_fault_alone_stands_against_it(changes: dict[str, Any], cleanliness: str, reason: str):
    found = is_eligible(a_run(**changes), [Tier(tier_id="t1", cleanliness=cleanliness)])
    assert found == (False, [reason])


def test_a_run_out_of_budget_has_both_reasons():
    eligible, reasons = is_eligible(a_run(state="DONE_FAILED_BUDGET_EXHAUSTED"), [])
    assert not eligible
    assert [reason.partition(":")[0] for reason in reasons] == ["not-successful", "budget-failure"]
