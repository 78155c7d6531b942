"""Tokens over HTTP: an operator makes, lists and revokes them; the value is shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from runs.models import ApiToken
from runs.tokens import create_token
from strategy.models import Project
from tests.runs.api.conftest import Api, api_for, make_project, problem_of

pytestmark = pytest.mark.django_db


def make(api: Api, **changes: Any) -> Any:
    return api.post("/tokens", {"agent": "bot", "roles": ["builder"], **changes})


def test_a_new_tokens_value_works_and_is_shown_once(operator: Api):
    answer = make(operator)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert set(body) == {
        "id", "prefix", "agent", "roles", "project_id", "state", "created_at", "expires_at", "revoked_at",
        "last_used_at", "token",
    }  # fmt: skip
    assert answer["Cache-Control"] == "no-store"
    assert (body["agent"], body["roles"], body["project_id"], body["state"]) == (
        "bot",
        ["builder"],
        None,
        "valid",
    )
    assert Api(Client(), body["token"]).get("/runs").status_code == 200
    listed = operator.get("/tokens")
    assert body["token"].encode() not in listed.content
    assert listed.json()["tokens"][0]["prefix"] == body["token"][:12]


def test_a_revoked_token_is_refused_at_once_and_revoking_again_changes_nothing(operator: Api):
    body = make(operator).json()
    answer = operator.post(f"/tokens/{body['id']}/revoke")
    assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
    problem_of(Api(Client(), body["token"]).get("/runs"), 401, "authentication-failed")
    again = operator.post(f"/tokens/{body['id']}/revoke").json()
    assert again["revoked_at"] == answer.json()["revoked_at"]


def test_an_expired_token_is_shown_as_such(operator: Api):
    end = clock.now() + timedelta(hours=1)
    body = make(operator, expires_at=end.isoformat()).json()
    assert body["expires_at"] == clock.stamp(end)
    ApiToken.objects.filter(pk=body["id"]).update(expires_at=clock.now())
    assert operator.get("/tokens").json()["tokens"][0]["state"] == "expired"


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"agent": ""}, "agent"),
        ({"agent": "two\nlines"}, "agent"),
        ({"agent": " blank"}, "agent"),
        ({"agent": "x" * 129}, "agent"),
        ({"roles": []}, "roles"),
        ({"roles": ["root"]}, "roles"),
        ({"roles": "builder"}, "roles"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"project_id": "../x"}, "project_id"),
    ],
)
def test_a_faulty_request_says_where_and_makes_none(operator: Api, changes: dict[str, Any], loc: str):
    before = ApiToken.objects.count()
    detail = problem_of(make(operator, **changes), 422, "invalid")["detail"]
    assert detail[0]["loc"][:2] == ["body", loc]
    assert ApiToken.objects.count() == before


@pytest.mark.parametrize("role", ["builder", "auditor", "verifier", "reader"])
def test_only_operators_deal_with_tokens(role: str):
    api = api_for(role)
    problem_of(api.get("/tokens"), 403, "role-missing")
    problem_of(make(api), 403, "role-missing")
    problem_of(api.post("/tokens/1/revoke"), 403, "role-missing")


def test_a_projects_operator_knows_of_its_own_project_only(project: Project, operator: Api):
    other = make_project("other", is_default=False)
    create_token("everywhere", roles=["reader"])
    create_token("elsewhere", roles=["reader"], project=other)
    mine = api_for("operator", name="mine", project=project)
    assert make(mine).json()["project_id"] == "demo"
    assert {row["agent"] for row in mine.get("/tokens").json()["tokens"]} == {"mine", "bot"}
    problem_of(make(mine, project_id="other"), 404, "project-not-found")
    foreign = ApiToken.objects.get(agent__name="everywhere")
    problem_of(mine.post(f"/tokens/{foreign.pk}/revoke"), 404, "token-not-found")
    assert ApiToken.objects.get(pk=foreign.pk).revoked_at is None


def test_tokens_come_in_pages_and_at_the_same_cost(project: Project, operator: Api):
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert operator.get("/tokens").status_code == 200
        return len(captured)

    cost()
    few = cost()
    for number in range(5):
        create_token(f"bot-{number}", roles=["reader"], project=project)
    assert cost() == few == 2, "token, tokens"
    seen, cursor = [], ""
    while True:
        body = operator.get(f"/tokens?limit=2{cursor}").json()
        seen += [row["agent"] for row in body["tokens"]]
        if body["next_cursor"] is None:
            break
        cursor = f"&cursor={body['next_cursor']}"
    assert seen == ["bot-4", "bot-3", "bot-2", "bot-1", "bot-0", "operator"]
