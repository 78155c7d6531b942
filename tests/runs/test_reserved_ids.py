"""A run may not take the name of a project's own file: it would lose its artefacts."""

from __future__ import annotations

import pytest

from autopack_site.kernel.errors import Invalid
from runs.services import start_run
from strategy.types import Plan, RunOptions


@pytest.mark.parametrize(
    "run_id", ["project_issue_backlog.json", "project_ruleset_p.json", "Project_Ruleset_p.json"]
)
def test_a_run_is_refused_the_name_of_a_projects_file(run_id: str) -> None:
    with pytest.raises(Invalid) as refused:
        start_run(run_id, project_id=None, plan=Plan((), ()), options=RunOptions(), by="tests")
    assert refused.value.problems[0]["type"] == "reserved"
