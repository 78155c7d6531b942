"""Tokens, agents and open work in the admin: shown once, revoked for good, summed up, sent again."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from runs.models import Agent, ApiToken, Attempt, Outbox
from runs.tokens import caller_of, create_token
from strategy.models import Project
from tests.factories import make_phase, make_project

pytestmark = pytest.mark.django_db
TOKENS, AGENTS = "/admin/runs/apitoken/", "/admin/runs/agent/"
WHY = "the nightly builder"


@pytest.fixture
def project() -> Project:
    return make_project("demo")


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def viewer() -> Client:
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client


def trail() -> list[str]:
    return [row.get_change_message() for row in LogEntry.objects.order_by("id")]


def attempts(agent: str, *tokens: int | None) -> None:
    phase = make_phase()
    for number, used in enumerate(tokens, start=1):
        Attempt.objects.create(
            run=phase.run, phase=phase, kind="build", number=number, state="RED", agent=agent, tokens_used=used,
            created_at=clock.now(),
        )  # fmt: skip


# --- tokens ----------------------------------------------------------------------------------------------


def test_a_new_token_is_shown_once(project: Project, root: Client) -> None:
    body = {"agent_name": "outside", "roles": ["builder"], "project": project.pk, "why": WHY}
    answer = root.post(f"{TOKENS}add/", body)
    assert answer.status_code == 200, answer.content
    assert "no-store" in answer["Cache-Control"]
    found = re.search(r'<pre id="token-value"[^>]*>(\S+)</pre>', answer.content.decode())
    assert found is not None
    caller = caller_of(found[1])
    assert caller is not None
    assert (caller.name, caller.roles, caller.project_scope) == ("outside", frozenset({"builder"}), "demo")
    token = ApiToken.objects.get()
    for path in (TOKENS, f"{TOKENS}{token.pk}/change/", f"{AGENTS}{token.agent_id}/change/"):
        page = root.get(path).content.decode()
        assert token.prefix in page
        assert found[1] not in page
        assert token.digest not in page
    assert trail() == [f"Made for outside with builder. Why: {WHY}"]
    assert found[1] not in LogEntry.objects.get().object_repr


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"roles": []}, "roles"),
        ({"roles": ["king"]}, "roles"),
        ({"agent_name": ""}, "agent_name"),
        ({"why": ""}, "why"),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "expires_at"),
    ],
)
def test_a_token_that_lacks_something_is_not_made(root: Client, fields: dict[str, Any], wrong: str) -> None:
    body = {"agent_name": "outside", "roles": ["builder"], "why": WHY, **fields}
    answer = root.post(f"{TOKENS}add/", body)
    assert list(answer.context["adminform"].form.errors) == [wrong]
    assert not ApiToken.objects.exists()
    assert trail() == []


def test_a_revoked_token_lets_nobody_in_and_is_not_revoked_twice(root: Client) -> None:
    value = create_token("outside", roles=["reader"])
    token = ApiToken.objects.get()
    path = f"{TOKENS}{token.pk}/revoke/"
    root.post(path, {"why": "it leaked"})
    assert caller_of(value) is not None
    root.post(path, {"why": "it leaked", "confirmed": "yes"})
    assert caller_of(value) is None
    page = root.post(path, {"why": "again", "confirmed": "yes"}, follow=True).content.decode()
    assert "is revoked already (token-ended)" in page
    assert trail() == ["Revoked. Why: it leaked"]


def test_selected_tokens_are_revoked_after_one_confirmation(root: Client) -> None:
    values = [create_token(name, roles=["reader"]) for name in ("a", "b")]
    body = {
        "action": "revoke_tokens",
        "_selected_action": list(ApiToken.objects.values_list("pk", flat=True)),
    }
    assert root.post(TOKENS, body).status_code == 200
    assert all(caller_of(value) for value in values)
    root.post(TOKENS, {**body, "why": "spring cleaning", "confirmed": "yes"})
    assert not any(caller_of(value) for value in values)


def test_a_tokens_state_is_shown(root: Client) -> None:
    for name in ("valid", "expired", "revoked"):
        create_token(name, roles=["reader"])
    past = clock.now() - timedelta(hours=1)
    ApiToken.objects.filter(agent__name="expired").update(expires_at=past)
    ApiToken.objects.filter(agent__name="revoked").update(revoked_at=past)
    model_admin = root.get(TOKENS).context["cl"].model_admin
    assert {row.agent.name: model_admin.shown_state(row) for row in ApiToken.objects.all()} == {
        "valid": "valid", "expired": "expired", "revoked": "revoked"
    }  # fmt: skip


def test_who_may_only_look_neither_makes_nor_revokes_tokens() -> None:
    value = create_token("outside", roles=["reader"])
    client, path = viewer(), f"{TOKENS}{ApiToken.objects.get().pk}/revoke/"
    assert client.get(f"{TOKENS}add/").status_code == 403
    assert client.get(path).status_code == 403
    assert client.post(path, {"why": "x", "confirmed": "yes"}).status_code == 403
    assert caller_of(value) is not None


# --- agents ----------------------------------------------------------------------------------------------


def test_an_agents_row_sums_up_its_tokens_and_attempts(root: Client) -> None:
    create_token("ann", roles=["builder"])
    create_token("ann", roles=["reader"])
    create_token("bob", roles=["builder"])
    ApiToken.objects.filter(roles=["reader"]).update(revoked_at=clock.now(), last_used_at=clock.now())
    attempts("ann", 1_000, 234, None)
    changelist = root.get(AGENTS).context["cl"]
    shown = {
        row.name: (changelist.model_admin.valid_tokens(row), changelist.model_admin.attempts(row),
                   changelist.model_admin.tokens_used(row), changelist.model_admin.last_seen(row) is not None)
        for row in changelist.result_list
    }  # fmt: skip
    assert shown == {"ann": (1, 3, "1,234", True), "bob": (1, 0, None, False)}


def test_an_agents_page_tells_what_became_of_its_attempts(root: Client) -> None:
    create_token("ann", roles=["builder"])
    attempts("ann", 1_000, 234)
    page = root.get(f"{AGENTS}{Agent.objects.get().pk}/change/").content.decode()
    assert re.search(r"<td>build</td><td>red</td><td[^>]*>2</td><td[^>]*>1234</td>", page)


@pytest.mark.parametrize("path", [TOKENS, AGENTS])
def test_a_list_costs_the_same_statements_for_one_row_and_for_many(root: Client, path: str) -> None:
    costs = []
    for number in range(2):
        for index in range(1 + 4 * number):
            create_token(f"a{number}-{index}", roles=["builder"], project=make_project())
            attempts(f"a{number}-{index}", 1)
        root.get(path)
        with CaptureQueriesContext(connection) as captured:
            assert root.get(path).status_code == 200
        costs.append(len(captured))
    assert costs[0] == costs[1]


def test_an_agents_name_is_shown_as_text(root: Client) -> None:
    create_token("<script>alert(1)</script>\u202e", roles=["builder"])
    for path in (AGENTS, f"{AGENTS}{Agent.objects.get().pk}/change/", TOKENS):
        page = root.get(path).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in page


# --- open work -------------------------------------------------------------------------------------------


def test_selected_work_is_sent_again_after_a_confirmation(
    root: Client, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, **_: sent.append(name))
    now = clock.now()
    row = Outbox.objects.create(topic="run.step", key="r1", due_at=now, created_at=now)
    body = {"action": "send_again", "_selected_action": [row.pk]}
    assert root.post("/admin/runs/outbox/", body).status_code == 200
    assert sent == []
    with django_capture_on_commit_callbacks(execute=True):
        root.post("/admin/runs/outbox/", {**body, "why": "lost", "confirmed": "yes"})
    assert sent == ["runs.tasks.step"]
    assert trail() == ["Sent run.step again. Why: lost"]
