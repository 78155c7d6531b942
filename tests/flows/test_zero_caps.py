"""0 is zero: of each cap nothing starts that it pays for, and the cap is named."""

from __future__ import annotations

from typing import Any

import pytest

from autopack_site.kernel.errors import AutopackError
from runs.models import Attempt
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.test_caps import ONE, OUT, REVIEW, ask, begun, docs, land, used, what_broke
from tests.flows.world import World

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


ZEROS: list[tuple[str, dict[str, Any]]] = [
    ("run_token_cap", {"run_token_cap": 0}),
    ("run_build_token_cap", {"run_build_token_cap": 0}),
    ("run_cost_cap_usd", {"run_cost_cap_usd": 0}),
    ("tier_token_cap", docs(tier_token_cap_multiplier=0)),
    ("incident_token_cap", docs(incident_token_cap=0)),
    ("build_token_cap", docs(build_token_cap=0)),
    ("incident_cost_cap_usd", docs(incident_cost_cap_usd=0)),
    ("max_attempt_tokens", {"rules": [{"id": "none", "set": {"max_attempt_tokens": 0}}]}),
    ("max_attempt_cost_usd", {"rules": [{"id": "none", "set": {"max_attempt_cost_usd": 0}}]}),
    ("max_builder_attempts", docs(max_builder_attempts=0)),
    ("max_turns", docs(max_turns=0)),
    ("run_max_duration_minutes", {"run_max_duration_minutes": 0}),
]


@pytest.mark.parametrize(("cap", "ruleset"), ZEROS, ids=[row[0] for row in ZEROS])
def test_zero_is_zero_no_attempt_starts_and_the_cap_is_named(
    world: World, cap: str, ruleset: dict[str, Any]
) -> None:
    run = begun(world, ruleset)
    ended, codes = what_broke(run)
    # the run's cap of 0 is every phase's too, and a phase's its tier's: the cause is named
    assert (ended, cap in codes) == (OUT, True), codes
    assert not Attempt.objects.filter(run=run).exists()


ZERO_AUDITS: list[tuple[str, dict[str, Any], str, str]] = [
    ("audit_token_cap", docs(audit_token_cap=0), "audit_token_cap", OUT),
    ("run_audit_token_cap", {"run_audit_token_cap": 0}, "run_audit_token_cap", OUT),
    ("max_auditor_attempts", docs(max_auditor_attempts=0), "audits-exhausted", REVIEW),
]


@pytest.mark.parametrize(
    ("cap", "ruleset", "code", "state"), ZERO_AUDITS, ids=[row[0] for row in ZERO_AUDITS]
)
def test_zero_is_zero_no_audit_starts_and_the_cap_is_named(
    world: World, cap: str, ruleset: dict[str, Any], code: str, state: str
) -> None:
    run = begun(world, ruleset)
    ask(run, "one")
    phase = hand.phase_of(run, "one")
    assert (phase.state, phase.failure_code) == ("FAILED", code)
    assert cap in f"{phase.failure_code} {phase.failure_reason}"
    assert not Attempt.objects.filter(run=run, kind="audit").exists()
    if (
        what_broke(run)[0] == "PHASE_QUEUEING"
    ):  # a cap of its own phase: the other one goes on, without an audit
        land(run, "two", used())
    assert what_broke(run)[0] == state


def test_a_plan_of_more_phases_than_allowed_is_refused_before_it_is_a_run(world: World) -> None:
    world.project(builder=None, ruleset={"run_max_phases": 0})
    with pytest.raises(AutopackError) as caught:
        world.start(world.plan(ONE))
    assert caught.value.code == "too-many-phases"
