"""The engine's steps take as many statements in a large run as in a small one, and no more than they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs import services, supervisor
from runs.budgets import Usage
from runs.models import Run
from runs.services import BuildResult, Claim
from tests.factories import make_run

pytestmark = pytest.mark.django_db
PATCH = b"diff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+a\n"
# Most statements that each step may take; they were measured, and lowering one is welcome.
CLAIM, SUBMIT, STEP = 30, 27, 11


def count(work: Callable[[], Any]) -> tuple[int, Any]:
    with CaptureQueriesContext(connection) as captured:
        value = work()
    return len(captured.captured_queries), value


def ready(phases: int) -> Run:
    run = make_run(tiers=2, phases_per_tier=phases)
    supervisor.step(run.pk)
    return run


def costs(run: Run) -> tuple[int, int, int]:
    claimed, claim = count(lambda: services.claim_phase(run.pk, agent="a"))
    assert isinstance(claim, Claim)
    result = BuildResult("success", PATCH, Usage(1, "reported", {}))
    submitted, _ = count(lambda: services.submit_build(claim.lease_id, fence=claim.fence, result=result))
    stepped, _ = count(lambda: supervisor.step(run.pk))
    return claimed, submitted, stepped


def test_claim_submit_and_step_cost_the_same_in_a_run_of_two_phases_and_of_forty() -> None:
    assert costs(ready(1)) == costs(ready(20))


def test_claim_submit_and_step_take_no_more_statements_than_allowed() -> None:
    claimed, submitted, stepped = costs(ready(3))
    assert claimed <= CLAIM
    assert submitted <= SUBMIT
    assert stepped <= STEP


def test_a_block_inside_another_advances_the_run_once() -> None:
    run = ready(3)

    def nested() -> None:
        with supervisor.locked_run(run.pk), supervisor.locked_run(run.pk):
            pass

    def single() -> None:
        with supervisor.locked_run(run.pk):
            pass

    alone, _ = count(single)
    both, _ = count(nested)
    assert both == alone + 1  # the inner block's own look at the run


def test_a_run_is_advanced_again_after_a_block_that_failed() -> None:
    run = ready(3)
    alone, _ = count(lambda: supervisor.step(run.pk))
    with pytest.raises(ZeroDivisionError), supervisor.locked_run(run.pk):
        raise ZeroDivisionError
    again, _ = count(lambda: supervisor.step(run.pk))
    assert again == alone
