"""Projects and rules in the admin: changed by services, with a reason, and every change in the audit trail."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from strategy import services
from strategy.models import Project, ProjectRevision, Ruleset, Strategy
from tests.factories import make_ruleset, make_run

pytestmark = pytest.mark.django_db
TEXT = "# ours\ndefault_branch: trunk\n"
WHY = "agreed on Monday"


@pytest.fixture
def project() -> Project:
    return services.add_project(
        "shop", name="Shop", source="/srv/shop", config_text=TEXT, is_default=False, by="ann"
    )


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ann"))
    return client


def viewer() -> Client:
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client


def path(row: Any, action: str) -> str:
    return f"/admin/strategy/{row._meta.model_name}/{row.pk}/{action}"


def audited() -> list[tuple[str, int, str]]:
    rows = LogEntry.objects.order_by("id").select_related("user")
    return [(row.user.username, row.action_flag, row.change_message) for row in rows]


def in_force(project: Project) -> Ruleset:
    project.refresh_from_db()
    assert project.ruleset is not None
    return project.ruleset


def test_pages_are_shown_and_no_row_is_edited_or_deleted_by_hand(project: Project, admin: Client) -> None:
    make_run(project)
    for row in (project, in_force(project), Strategy.objects.get(), ProjectRevision.objects.get()):
        name = row._meta.model_name
        assert admin.get(f"/admin/strategy/{name}/?q=shop").status_code == 200
        assert admin.get(path(row, "change/")).status_code == 200
        assert admin.post(path(row, "change/"), {}).status_code == 403
        assert admin.post(path(row, "delete/"), {"post": "yes"}).status_code == 403


def test_a_project_is_added_with_its_configuration(admin: Client) -> None:
    body = {
        "project_id": "new",
        "source": "/srv/new",
        "text": TEXT,
        "why": WHY,
        "expected": 0,
        "is_default": "on",
    }
    assert admin.post("/admin/strategy/project/add/", body).status_code == 302
    project = Project.objects.get()
    assert (project.project_id, project.default_branch, project.is_default) == ("new", "trunk", True)
    assert project.revisions.get().created_by == "ann"
    assert audited() == [("ann", ADDITION, f"Added. Why: {WHY}")]


def test_what_is_wrong_with_a_new_project_is_told_where_it_is(project: Project, admin: Client) -> None:
    body = {"project_id": "-x", "source": "nowhere", "text": "a: 1\n", "why": WHY, "expected": 0}
    form = admin.post("/admin/strategy/project/add/", body).context["form"]
    assert form.has_error("project_id")
    form = admin.post("/admin/strategy/project/add/", {**body, "project_id": "y"}).context["form"]
    assert form.has_error("source")
    page = admin.post("/admin/strategy/project/add/", {**body, "project_id": "y", "source": "/srv/y"})
    [problem] = page.context["problems"]
    assert (problem.line, problem.place) == ("1", "a")
    page = admin.post(
        "/admin/strategy/project/add/", {"project_id": "shop", "source": "/x", "why": WHY, "expected": 0}
    )
    assert "Project shop exists already (project-exists)" in page.content.decode()
    assert Project.objects.count() == 1
    assert audited() == []


def test_a_configuration_is_changed_from_its_own_text(project: Project, admin: Client) -> None:
    page = admin.get(path(project, "configure/"))
    initial = page.context["form"].initial
    assert initial == {"text": TEXT, "expected": 1}
    body = {"text": TEXT.replace("trunk", "main"), "expected": 1, "why": WHY}
    assert admin.post(path(project, "configure/"), body).status_code == 302
    project.refresh_from_db()
    assert project.default_branch == "main"
    newest = ProjectRevision.objects.get(number=2)
    assert (newest.config_text, newest.created_by, newest.why) == (
        "# ours\ndefault_branch: main\n",
        "ann",
        WHY,
    )
    assert audited() == [("ann", CHANGE, f"Configuration changed. Why: {WHY}")]
    text = admin.get(path(project, "change/")).content.decode()
    assert WHY in text
    assert "# ours" in text
    shown = admin.get(path(newest, "change/")).content.decode()
    assert "&quot;trunk&quot;" in shown
    assert "&quot;main&quot;" in shown


def test_the_differences_of_a_configuration_are_shown_before_it_is_in_force(
    project: Project, admin: Client
) -> None:
    body = {"text": "default_branch: main\n", "expected": 1, "preview": "yes"}
    page = admin.post(path(project, "configure/"), body)
    [row] = page.context["differences"]
    assert (row.place, row.before, row.after) == ("default_branch", '"trunk"', '"main"')
    project.refresh_from_db()
    assert project.default_branch == "trunk"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"why": ""}, "This field is required"),
        ({"expected": 7}, "(config-moved)"),
        ({"text": "builders:\n  x: {kind: nope}\n"}, "&#x27;nope&#x27; is not one of"),
        ({"text": "a: [\n"}, "listed above"),
    ],
)
def test_a_bad_change_of_a_configuration_is_refused_with_the_reason(
    project: Project, admin: Client, fields: dict[str, Any], told: str
) -> None:
    body = {"text": "default_branch: main\n", "expected": 1, "why": WHY, **fields}
    answer = admin.post(path(project, "configure/"), body)
    assert answer.status_code == 200
    assert told in answer.content.decode()
    project.refresh_from_db()
    assert project.default_branch == "trunk"
    assert audited() == []


def test_a_faults_line_and_field_are_shown(project: Project, admin: Client) -> None:
    body = {"text": "builders:\n  x: {kind: nope}\n", "expected": 1, "why": WHY}
    [problem] = admin.post(path(project, "configure/"), body).context["problems"]
    assert (problem.line, problem.place) == ("2", "builders.x.kind")


def test_a_project_is_made_the_default_after_it_was_confirmed(project: Project, admin: Client) -> None:
    assert admin.get(path(project, "default/")).status_code == 200
    admin.post(path(project, "default/"), {"why": WHY})
    project.refresh_from_db()
    assert not project.is_default
    admin.post(path(project, "default/"), {"why": WHY, "confirmed": "yes"})
    project.refresh_from_db()
    assert project.is_default
    assert audited() == [("ann", CHANGE, f"Made the default project. Why: {WHY}")]


def test_a_new_ruleset_is_made_from_an_old_one(project: Project, admin: Client) -> None:
    old = in_force(project)
    initial = admin.get(path(old, "revise/")).context["form"].initial
    assert initial["expected"] == 1
    assert '"version"' not in initial["text"]
    body = {"text": "run_token_cap: 7\n", "expected": 1, "why": WHY}
    preview = admin.post(path(old, "revise/"), {**body, "preview": "yes", "why": ""})
    assert ("run_token_cap", "5000000", "7") in [
        (row.place, row.before, row.after) for row in preview.context["differences"]
    ]
    assert in_force(project) == old
    assert admin.post(path(old, "revise/"), body).status_code == 302
    assert (in_force(project).version, in_force(project).created_by) == (2, "ann")
    assert audited() == [("ann", ADDITION, f"Made from version 1. Why: {WHY}")]


def test_a_ruleset_is_not_made_over_a_newer_one(project: Project, admin: Client) -> None:
    old = in_force(project)
    make_ruleset(project)
    answer = admin.post(path(old, "revise/"), {"text": "{}", "expected": 1, "why": WHY})
    assert "(ruleset-moved)" in answer.content.decode()
    assert in_force(project).version == 2


def test_a_ruleset_with_a_fault_is_refused_at_the_field(project: Project, admin: Client) -> None:
    text = "run_token_cap: 7\ncategory_defaults:\n  docs: {auto_apply: maybe}\n"
    page = admin.post(path(in_force(project), "revise/"), {"text": text, "expected": 1, "why": WHY})
    [problem] = page.context["problems"]
    assert (problem.line, problem.place) == ("3", "category_defaults.docs.auto_apply")
    assert page.context["form"].has_error("text")
    assert Ruleset.objects.count() == 1


def test_two_versions_are_compared(project: Project, admin: Client) -> None:
    make_ruleset(project, run_token_cap=7)
    newest = make_ruleset(project, run_token_cap=9)
    for query, before in (
        ("", "7"),
        ("?with=1", "5000000"),
        ("?with=99", None),
        ("?with=x", "7"),
        ("?with=%C2%B2", "7"),
    ):
        page = admin.get(path(newest, "compare/") + query)
        assert page.status_code == 200
        found = {row.place: (row.before, row.after) for row in page.context["differences"]}
        assert found.get("run_token_cap") == ((before, "9") if before else None)


def test_who_may_only_look_changes_nothing(project: Project) -> None:
    client, ruleset = viewer(), in_force(project)
    body = {"text": "{}", "expected": 1, "why": WHY, "confirmed": "yes"}
    for target in (path(project, "configure/"), path(project, "default/"), path(ruleset, "revise/")):
        assert client.get(target).status_code == 403
        assert client.post(target, body).status_code == 403
    assert client.get("/admin/strategy/project/add/").status_code == 403
    assert client.post("/admin/strategy/project/add/", {}).status_code == 403
    page = client.get(path(ruleset, "change/")).content.decode()
    assert "New version from this" not in page
    assert client.get(path(ruleset, "compare/")).status_code == 200
    assert (Ruleset.objects.count(), audited()) == (1, [])


@pytest.mark.parametrize("name", ["project", "ruleset", "strategy", "projectrevision"])
def test_a_list_costs_the_same_statements_for_one_row_and_for_many(admin: Client, name: str) -> None:
    costs: list[int] = []
    for _ in range(2):
        for _ in range(4 if costs else 1):
            services.update_project_config(make_run().project.project_id, config_text="", by="ann")
        admin.get(f"/admin/strategy/{name}/")
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(f"/admin/strategy/{name}/").status_code == 200
        costs.append(len(captured))
    assert costs[0] == costs[1]


def test_hostile_text_in_a_configuration_is_shown_as_text(admin: Client) -> None:
    hostile = "# <script>alert(1)</script> \u202eevil\n"
    project = services.add_project(
        "x", name="<b>x</b>", source="/srv/x", config_text=hostile, is_default=False, by="ann"
    )
    text = admin.get(path(project, "change/")).content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\u202eevil" in text
    assert "<b>x</b>" not in text
    page = admin.post(path(project, "configure/"), {"text": "<i>a</i>: 1\n", "expected": 1, "why": WHY})
    assert "<i>a</i>" not in page.content.decode()


def test_what_to_look_at_in_new_rules_is_shown_before_they_are_in_force(
    project: Project, admin: Client
) -> None:
    text = "rules:\n- id: idle\n  set: {ci_profile: normal}\n"
    body = {"text": text, "expected": 1, "preview": "yes"}
    page = admin.post(path(in_force(project), "revise/"), body)
    found = [(row.line, row.place) for row in page.context["advice"]]
    assert found == [("3", "rules[0].set.ci_profile")]
    assert "value-without-effect" in page.content.decode()
    assert in_force(project).version == 1
    saved = admin.post(path(in_force(project), "revise/"), {"text": text, "expected": 1, "why": WHY})
    assert saved.status_code == 302
    assert in_force(project).document["rules"][0]["id"] == "idle"
