"""A ruleset tried from its page in the admin: the differences first, and nothing put in force."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from strategy.models import Project, Ruleset
from tests.factories import make_project
from tests.runs.test_replay import attempt, ended

pytestmark = pytest.mark.django_db
PLAN = "# Plan\n## One\n- Fix a typo in the README\n  id: typo\n"


@pytest.fixture
def project() -> Project:
    return make_project("shop")


def viewer(*codenames: str) -> Client:
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def path(project: Project) -> str:
    return f"/admin/strategy/ruleset/{project.ruleset_id}/try/"


def tried(project: Project, text: str, plan: str = PLAN, runs: int = 40) -> Any:
    client = viewer("view_ruleset")
    return client.post(path(project), {"text": text, "plan": plan, "runs": runs})


def test_the_page_begins_with_the_version_s_text_and_is_linked_from_it(project: Project) -> None:
    client = viewer("view_ruleset")
    page = client.get(path(project)).content.decode()
    assert "&quot;run_token_cap&quot;: 5000000" in page
    assert (
        path(project) in client.get(f"/admin/strategy/ruleset/{project.ruleset_id}/change/").content.decode()
    )


def test_what_would_change_is_shown_with_its_rule_and_nothing_is_stored(project: Project) -> None:
    run = ended(project, "r1")
    attempt(run, "P1", "build", "MERGED", 90_000)
    page = tried(project, "run_token_cap: 50000\n")
    text = page.content.decode()
    assert "<td>dry-run</td><td><code>run_token_cap</code></td><td><code>5000000</code></td>" in text
    assert "ruleset version 2: run_token_cap" in text
    assert "of your last 1 runs would have been stopped by a cap." in text
    assert "What an agent would have done under other limits is not known" in text
    assert Ruleset.objects.count() == 1


def test_nothing_changes_and_no_past_is_asked_for(project: Project) -> None:
    text = tried(project, "{}\n", runs=0).content.decode()
    assert "Nothing changes for this plan." in text
    assert 'id="past"' not in text


def test_faults_are_told_by_line_and_field(project: Project) -> None:
    page = tried(project, "run_token_cap: 5\nrun_max_phases: many\n")
    [problem] = page.context["problems"]
    assert (problem.line, problem.place) == ("2", "run_max_phases")
    page = viewer_again(project, {"text": "{}", "plan": "# P\n## T\n- a\n  complexity: <b>\n", "runs": 0})
    assert "line 4: Complexity must be one of low, medium, high" in str(page.context["form"].errors["plan"])
    page = viewer_again(project, {"text": "{}", "plan": "", "runs": 5000})
    assert page.context["form"].has_error("runs")
    hostile = {"text": "{}", "plan": "# P\n## T\n- <script>alert(1)</script>\n", "runs": 0}
    assert "<script>alert" not in viewer_again(project, hostile).content.decode()


def viewer_again(project: Project, body: dict[str, Any]) -> Any:
    client = Client()
    client.force_login(User.objects.get(username="viewer"))
    return client.post(path(project), body)


def test_who_may_not_see_rulesets_may_not_try_one(project: Project) -> None:
    assert viewer("view_run").get(path(project)).status_code == 403
