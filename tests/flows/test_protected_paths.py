"""What an operator's configuration protects stays so, whatever ruleset is put in force after it."""

from __future__ import annotations

import pytest

from runs.models import Attempt
from strategy.services import add_ruleset
from tests.flows import hand
from tests.flows.stack import Stack
from tests.flows.world import World

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def quiet(stack: Stack) -> None:
    """The module's stack gives the database; no worker is started."""


@pytest.mark.parametrize("in_ruleset", [None, [], ["other/**"]])
def test_a_ruleset_adds_to_what_the_configuration_protects_and_frees_none_of_it(
    world: World, in_ruleset: list[str] | None
) -> None:
    project = world.project(builder=None, protected_paths=["one.txt"])
    assert project.ruleset is not None
    text = {key: value for key, value in project.ruleset.document.items() if key != "protected_paths"}
    add_ruleset(project, text | ({} if in_ruleset is None else {"protected_paths": in_ruleset}), "tests")
    run = world.start(world.plan({"phase_id": "one", "task_category": "docs"}))
    hand.build(run, "one")  # adds one.txt
    attempt = Attempt.objects.get(run=run)
    assert (attempt.failure_code, attempt.candidate_sha) == ("protected-path", "")
