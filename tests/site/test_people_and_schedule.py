"""People, the beat's schedule and the audit trail in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from celery import current_app
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from autopack_site.roles import create_roles

pytestmark = pytest.mark.django_db
CONFIRMED = {"why": "a sweep was lost", "confirmed": "yes"}


@pytest.fixture
def administrator() -> Client:
    create_roles()
    user = User.objects.create_user("ann", is_staff=True)
    user.groups.add(Group.objects.get(name="administrator"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def task() -> PeriodicTask:
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    return PeriodicTask.objects.create(name="sweep", task="runs.tasks.sweep", interval=every, queue="sweep")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(
        current_app, "send_task", lambda name, **options: found.append((name, options["queue"]))
    )
    return found


def page_of(task: PeriodicTask, action: str) -> str:
    return f"/admin/django_celery_beat/periodictask/{task.pk}/{action}/"


def trail() -> list[str]:
    return list(LogEntry.objects.order_by("id").values_list("change_message", flat=True))


# --- people ----------------------------------------------------------------------------------------------


def test_a_new_person_may_enter_the_admin_and_holds_no_role(administrator: Client) -> None:
    body = {
        "username": "bob",
        "usable_password": "true",
        "password1": "corr3ct-horse",
        "password2": "corr3ct-horse",
    }
    assert administrator.post("/admin/auth/user/add/", body).status_code == 302
    bob = User.objects.get(username="bob")
    assert (bob.is_staff, bob.is_superuser, bob.get_all_permissions()) == (True, False, set())
    assert LogEntry.objects.get().object_repr == "bob"


def test_an_administrator_gives_roles_and_makes_no_superuser(administrator: Client) -> None:
    bob = User.objects.create_user("bob", is_staff=True)
    body = {
        "username": "bob", "is_active": "on", "is_staff": "on", "is_superuser": "on",
        "groups": [Group.objects.get(name="operator").pk], "user_permissions": [1],
    }  # fmt: skip
    assert administrator.post(f"/admin/auth/user/{bob.pk}/change/", body).status_code == 302
    bob.refresh_from_db()
    assert bob.is_superuser is False
    assert [group.name for group in bob.groups.all()] == ["operator"]
    assert not bob.user_permissions.exists()


def test_an_administrator_changes_neither_a_superuser_nor_their_password(administrator: Client) -> None:
    root = User.objects.create_superuser("root", password="before")
    body = {"username": "root2", "password1": "corr3ct-horse", "password2": "corr3ct-horse"}
    assert administrator.post(f"/admin/auth/user/{root.pk}/change/", body).status_code == 403
    assert administrator.post(f"/admin/auth/user/{root.pk}/password/", body).status_code == 403
    root.refresh_from_db()
    assert root.username == "root"
    assert root.check_password("before")


def test_nobody_is_deleted_so_that_the_audit_trail_stays(administrator: Client) -> None:
    root = User.objects.create_superuser("root")
    client = Client()
    client.force_login(root)
    bob = User.objects.create_user("bob")
    assert client.post(f"/admin/auth/user/{bob.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(
        "/admin/auth/user/", {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"}
    )
    assert User.objects.filter(username="bob").exists()


def test_roles_are_read_and_not_edited(administrator: Client) -> None:
    group = Group.objects.get(name="viewer")
    page = administrator.get(f"/admin/auth/group/{group.pk}/change/")
    assert "runs.view_run" in page.content.decode()
    assert administrator.post(f"/admin/auth/group/{group.pk}/change/", {"name": "x"}).status_code == 403


# --- schedule --------------------------------------------------------------------------------------------


def test_a_scheduled_task_is_run_now_after_it_was_confirmed(
    administrator: Client, task: PeriodicTask, sent: list[tuple[str, str]]
) -> None:
    assert administrator.get(page_of(task, "run")).status_code == 200
    assert sent == []
    assert administrator.post(page_of(task, "run"), CONFIRMED).status_code == 302
    assert sent == [("runs.tasks.sweep", "sweep")]
    assert trail() == ["Sent to be run now. Why: a sweep was lost"]


def test_a_broker_that_is_away_is_told_and_nothing_is_written(
    administrator: Client, task: PeriodicTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **options: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(current_app, "send_task", away)
    page = administrator.post(page_of(task, "run"), CONFIRMED, follow=True)
    assert "(broker-away)" in page.content.decode()
    assert trail() == []


def test_a_task_is_paused_and_resumed_and_neither_twice(administrator: Client, task: PeriodicTask) -> None:
    for action, is_enabled in (("pause", False), ("resume", True)):
        administrator.post(page_of(task, action), CONFIRMED)
        task.refresh_from_db()
        assert task.enabled is is_enabled
        page = administrator.post(page_of(task, action), CONFIRMED, follow=True)
        assert "(already-so)" in page.content.decode()
    assert [line.split(".")[0] for line in trail()] == ["Paused", "Resumed"]


def test_the_schedule_itself_is_not_edited(administrator: Client, task: PeriodicTask) -> None:
    assert administrator.post(page_of(task, "change"), {"task": "os.system"}).status_code == 403
    assert administrator.get("/admin/django_celery_beat/periodictask/add/").status_code == 403
    assert administrator.get("/admin/django_celery_beat/crontabschedule/").status_code == 404


# --- audit trail -----------------------------------------------------------------------------------------


def test_the_audit_trail_tells_who_what_and_why_and_is_not_edited(
    administrator: Client, task: PeriodicTask, sent: list[tuple[str, str]]
) -> None:
    administrator.post(page_of(task, "run"), {**CONFIRMED, "why": "<b>because</b>"})
    page = administrator.get("/admin/admin/logentry/").content.decode()
    assert "Sent to be run now. Why: &lt;b&gt;because&lt;/b&gt;" in page
    entry = LogEntry.objects.get()
    assert administrator.get(f"/admin/admin/logentry/{entry.pk}/change/").status_code == 200
    assert administrator.post(f"/admin/admin/logentry/{entry.pk}/change/", {}).status_code == 403
    assert administrator.post(f"/admin/admin/logentry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    "path", ["auth/user", "auth/group", "admin/logentry", "django_celery_beat/periodictask"]
)
def test_a_list_costs_the_same_statements_for_few_rows_and_for_many(
    administrator: Client, task: PeriodicTask, path: str
) -> None:
    operator = Group.objects.get(name="operator")
    kind = ContentType.objects.get(app_label="auth", model="user")  # its id differs after a flush
    costs = []
    for number in range(1, 3):
        for index in range(number * 2):
            user = User.objects.create_user(f"u{number}-{index}")
            user.groups.add(operator)
            Group.objects.create(name=f"g{number}-{index}")
            PeriodicTask.objects.create(name=f"t{number}-{index}", task="t", interval=task.interval)
            LogEntry.objects.create(user=user, action_flag=2, object_repr="x", content_type=kind)
        administrator.get(f"/admin/{path}/")
        with CaptureQueriesContext(connection) as captured:
            assert administrator.get(f"/admin/{path}/").status_code == 200
        costs.append(len(captured))
    assert costs[0] == costs[1]
