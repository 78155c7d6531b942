"""Roles: exact permissions, made anew at every start, and what each lets a person do in the admin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from autopack_site import roles
from autopack_site.kernel import clock
from autopack_site.navigation import GROUPS
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry
from tests.factories import make_run
from tests.issues.reports import report

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _roles() -> None:
    roles.create_roles()


def person(role: str) -> Client:
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def held(role: str) -> set[str]:
    rows = Permission.objects.filter(group__name=role).select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def changing(role: str) -> set[str]:
    return {name for name in held(role) if ".view_" not in name}


def test_each_role_may_change_exactly_what_is_written_here() -> None:
    operates = {
        "integration.change_gaterun", "integration.change_gitintent", "issues.change_backlogentry",
        "runs.change_outbox", "runs.change_run",
    }  # fmt: skip
    administers = {
        "auth.add_user", "auth.change_user", "django_celery_beat.change_periodictask", "runs.add_apitoken",
        "runs.change_apitoken", "strategy.add_project", "strategy.add_ruleset", "strategy.change_project",
    }  # fmt: skip
    assert changing("viewer") == set()
    assert changing("operator") == operates
    assert changing("administrator") == operates | administers


def test_every_role_sees_everything_that_the_menu_names() -> None:
    wanted = {entry.permission for _, entries in GROUPS for entry in entries if entry.permission}
    for role in roles.ROLES:
        assert wanted <= held(role)


def test_making_the_roles_again_undoes_what_a_hand_changed() -> None:
    before = {role: held(role) for role in roles.ROLES}
    Group.objects.get(name="viewer").permissions.add(Permission.objects.get(codename="delete_user"))
    Group.objects.get(name="operator").permissions.clear()
    Group.objects.get(name="administrator").delete()
    roles.create_roles()
    assert {role: held(role) for role in roles.ROLES} == before
    assert Group.objects.count() == 3


def test_a_permission_that_no_app_declares_is_not_left_out_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(roles.ROLES, "viewer", frozenset({"runs.fly_run"}))
    with pytest.raises(roles.PermissionMissing, match=r"runs\.fly_run"):
        roles.create_roles()


def test_every_page_of_the_menu_opens_for_a_viewer() -> None:
    client = person("viewer")
    menu = client.get("/admin/board/").context["sidebar_navigation"]
    links = [item["link"] for group in menu for item in group["items"]]
    assert len(links) == sum(len(entries) for _, entries in GROUPS)
    assert {link: client.get(link).status_code for link in links} == dict.fromkeys(links, 200)


@pytest.mark.parametrize(
    ("role", "accepts", "revises"),
    [("viewer", False, False), ("operator", True, False), ("administrator", True, True)],
)
def test_a_role_does_what_it_may_and_is_refused_the_rest(role: str, accepts: bool, revises: bool) -> None:
    run = make_run()
    DatabaseLedger().record(run.phases.get(phase_id="P1").pk, [report()], reporter="b")
    client, entry, ruleset = person(role), BacklogEntry.objects.get(), run.project.ruleset
    assert ruleset is not None
    until = (clock.now() + timedelta(days=1)).date().isoformat()
    body: dict[str, Any] = {"until": until, "why": "known", "confirmed": "yes"}
    answer = client.post(f"/admin/issues/backlogentry/{entry.pk}/accept/", body)
    entry.refresh_from_db()
    assert (answer.status_code, entry.status == "accepted") == (302 if accepts else 403, accepts)
    answer = client.post(
        f"/admin/strategy/ruleset/{ruleset.pk}/revise/",
        {"text": "run_token_cap: 7\n", "expected": 1, "why": "smaller"},
    )
    run.project.refresh_from_db()
    assert (answer.status_code, run.project.ruleset != ruleset) == (302 if revises else 403, revises)
    for path in ("/admin/strategy/project/add/", "/admin/runs/apitoken/add/", "/admin/auth/user/add/"):
        assert client.get(path).status_code == (200 if revises else 403)
