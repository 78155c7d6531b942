"""The admin's frame: its policy, its menu, and where a person arrives."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from autopack_site.content_security import ADMIN, STRICT
from autopack_site.navigation import GROUPS

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def viewer(*permissions: str) -> Client:
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def rules(policy: str) -> dict[str, set[str]]:
    return {name: set(values) for name, *values in (rule.split() for rule in policy.split(";"))}


@pytest.mark.parametrize("policy", [STRICT, ADMIN])
def test_no_policy_lets_a_script_within_a_page_run_or_another_host_be_asked(policy: str) -> None:
    found = rules(policy)
    assert found["default-src"] == {"'self'"}
    assert found["frame-ancestors"] == found["object-src"] == found["base-uri"] == {"'none'"}
    assert "'unsafe-inline'" not in found["script-src"]
    assert not {source for values in found.values() for source in values if "//" in source or source == "*"}


def test_our_own_pages_allow_no_evaluated_text_and_no_style_within_the_page(operator: Client) -> None:
    answer = operator.get("/admin/board/")
    assert answer["Content-Security-Policy"] == STRICT
    assert "unsafe" not in STRICT


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/runs/run/", "/admin/auth/user/"])
def test_the_admins_tables_have_the_policy_that_their_drawing_needs(operator: Client, path: str) -> None:
    client = Client() if "login" in path else operator
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer["Content-Security-Policy"] == ADMIN
    assert answer["X-Frame-Options"] == "DENY"


def test_answers_that_are_not_html_have_no_policy() -> None:
    assert "Content-Security-Policy" not in Client().get("/health")


def test_our_pages_hold_no_script_style_or_handler_of_their_own(operator: Client) -> None:
    page = operator.get("/admin/board/").content.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
    assert " onclick=" not in page


def test_the_menu_names_each_job_and_every_line_leads_to_a_page(operator: Client) -> None:
    titles = [title for title, _ in GROUPS]
    assert titles == ["Runs", "Work", "Issues", "Rules", "Access", "System"]
    page = operator.get("/admin/board/").context["sidebar_navigation"]
    links = [item["link"] for group in page for item in group["items"]]
    assert len(links) == sum(len(entries) for _, entries in GROUPS)
    assert {link: operator.get(link).status_code for link in links} == dict.fromkeys(links, 200)


def test_the_menu_marks_the_one_page_that_is_open(operator: Client) -> None:
    for path in ("/admin/board/", "/admin/runs/run/", "/admin/runs/transition/"):
        menu = operator.get(path).context["sidebar_navigation"]
        assert [item["link"] for group in menu for item in group["items"] if item["active"]] == [path]


def test_the_menu_leaves_out_what_a_person_may_not_see() -> None:
    menu = viewer("view_run").get("/admin/board/").context["sidebar_navigation"]
    assert {group["title"] for group in menu} == {"Runs"}


def test_who_logs_in_arrives_at_the_board(operator: Client) -> None:
    assert operator.get("/admin/").headers["Location"] == "/admin/board/"


def test_who_may_not_see_runs_arrives_at_what_they_may_see() -> None:
    answer = viewer("view_project").get("/admin/")
    assert answer.status_code == 200
    assert "/admin/strategy/project/" in answer.content.decode()


def test_a_stranger_is_asked_to_log_in() -> None:
    assert Client().get("/admin/").headers["Location"].startswith("/admin/login/")
    assert Client().get("/admin/board/").headers["Location"].startswith("/admin/login/")


def test_a_person_without_the_permission_is_refused() -> None:
    answer = viewer("view_project").get("/admin/board/")
    assert answer.status_code == 403
    assert answer["Content-Security-Policy"] == STRICT
