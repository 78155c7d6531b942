"""A request's correlation id goes through the outbox to real workers, into the rows and log lines they make."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from runs.models import Outbox, Run, Transition
from runs.tokens import create_token
from tests.flows.stack import Stack
from tests.flows.world import PYTHON, World

pytestmark = pytest.mark.real
OURS = "build-42.retry:1"


@pytest.fixture(scope="module")
def module_env() -> dict[str, str]:
    return {"AUTOPACK_LOG_LEVEL": "INFO", "AUTOPACK_LOG_JSON": "1"}


def lines_of(stack: Stack) -> list[dict[str, Any]]:
    """Every line that the workers logged as an event of ours."""
    text = "".join(path.read_text(errors="replace") for path in stack.log_dir.glob("*worker*.log"))
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [row for row in rows if row.get("logger", "").split(".")[0] in ("runs", "issues", "integration")]


def test_a_run_is_traced_by_the_id_of_the_request_that_started_it(stack: Stack, world: World) -> None:
    stack.worker(log_level="INFO")  # and no beat: a sweep's work has ids of its own
    world.project(gate=[{"name": "unit", "argv": [PYTHON, "-c", "pass"]}])
    run_id = f"traced-{world.key}"
    body = {
        "project_id": world.key,
        "run": {"run_id": run_id},
        "tiers": [{"tier_id": "t1", "tier_index": 0, "name": "Tier"}],
        "phases": [{"phase_id": "one", "phase_index": 0, "tier_id": "t1", "name": "One"}],
    }
    token = create_token(f"starter-{world.key}", roles=["operator"])
    answer = Client().post(
        "/runs/start", body, "application/json",
        headers={"authorization": f"Bearer {token}", "x-correlation-id": OURS},
    )  # fmt: skip
    assert (answer.status_code, answer["X-Correlation-Id"]) == (201, OURS), answer.content
    run = world.ended(Run.objects.get(pk=run_id))
    assert run.state == "DONE_SUCCESS", world.history(run)
    events = Transition.objects.filter(run=run)
    assert {"compiled", "claimed", "merged", "succeeded"} <= set(events.values_list("event", flat=True))
    assert set(events.values_list("correlation_id", flat=True)) == {OURS}
    assert set(Outbox.objects.values_list("correlation_id", flat=True)) <= {OURS}
    lines = lines_of(stack)
    assert len({row["event"] for row in lines}) >= 5
    assert {row["correlation_id"] for row in lines} == {OURS}
    assert all(row["task_id"] for row in lines)
