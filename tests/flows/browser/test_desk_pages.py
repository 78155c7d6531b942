"""A person at the desk: makes a ruleset's next version, accepts an issue, makes a token and revokes it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from selenium.webdriver.common.keys import Keys

from autopack_site.kernel import clock
from autopack_site.roles import create_roles
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogEvent
from runs.models import ApiToken, Outbox
from runs.tokens import caller_of
from strategy.models import Project, Ruleset
from strategy.services import add_project
from tests.factories import make_run
from tests.flows.browser.browser import NAME, Browser
from tests.issues.reports import report

TRICK = "<img src=x onerror=\"document.title='acted'\">\u202e"


@pytest.fixture
def project() -> Project:
    """A project with a configuration and a backlog of every age."""
    number = Project.objects.count() + 1  # other tests of this module have committed theirs
    made = add_project(
        f"shop-{number}", name="The shop", source="/srv/git/shop.git", is_default=False, by="ann",
        config_text="# the shop's own\ndefault_branch: main\nscopes:\n  docs: [docs/**]\n",
    )  # fmt: skip
    run = make_run(made)
    reports = [
        report(f"test:checkout-{number}", evidence_refs=(f"src/till_{number}.py:3",)) for number in range(14)
    ]
    reports.append(report(f"lint:{TRICK}", category="static_check"))
    DatabaseLedger().record(run.phases.get(phase_id="P1").pk, reports, reporter="builder-1")
    for entry in BacklogEntry.objects.filter(project=made, issue_key__startswith="test:"):
        age = int(entry.issue_key.rsplit("-", 1)[1]) // 2
        is_aged = age >= 3
        BacklogEntry.objects.filter(pk=entry.pk).update(
            runs_offset=age,
            status="needs_cleanup" if is_aged else "open",
            effective_severity="major" if is_aged else "minor",
        )
    return made


def test_a_person_makes_the_next_version_of_a_ruleset(operator: Browser, project: Project) -> None:
    operator.open("/admin/strategy/ruleset/")
    operator.press(project.project_id)
    operator.click("a[href$='/revise/']")
    operator.until_text("becomes the project's next version")
    text = operator.find("#id_text").get_attribute("value")
    operator.driver.execute_script(
        "arguments[0].value = arguments[1]", operator.find("#id_text"), str(text).replace("5000000", '"many"')
    )
    operator.press("Show the differences")
    operator.until_text("run_token_cap", "#problems")
    operator.shot("ruleset-fault")
    operator.driver.execute_script(
        "arguments[0].value = arguments[1]", operator.find("#id_text"), str(text).replace("5000000", "750000")
    )
    operator.press("Show the differences")
    operator.until_text("750000", "#differences")
    operator.shot("ruleset-new-version")
    operator.driver.execute_script(
        "arguments[0].value = arguments[1]", operator.find("#id_text"), str(text).replace("5000000", "750000")
    )
    operator.fill("#id_why", "the nightly runs are small")
    operator.press("Put in force")
    operator.until_text(f"Version 2 of {project.project_id}'s ruleset is in force")
    made = Ruleset.objects.get(project=project, version=2)
    assert (made.document["run_token_cap"], made.created_by) == (750_000, NAME)
    operator.open(f"/admin/strategy/ruleset/{made.pk}/compare/")
    assert "run_token_cap" in operator.text("#differences")


def test_a_person_accepts_an_issue_and_reads_its_history(operator: Browser, project: Project) -> None:
    operator.open("/admin/issues/backlogentry/")
    assert operator.driver.title.startswith("Select backlog entry")
    operator.shot("backlog")
    operator.click("a[href$='/ages/']")
    operator.find("#desk-project").send_keys(project.project_id)
    operator.press("Show")
    operator.until_text("The oldest open issues")
    operator.shot("backlog-ages")
    operator.press("test:checkout-13")
    operator.click("a[href$='/accept/']")
    operator.until_text("Until the date they do not age")
    operator.shot("accept")
    day = clock.now() + timedelta(days=30)
    operator.find("#id_until").send_keys(f"{day:%m%d%Y}")
    operator.fill("#id_why", "the vendor fixes it in its next release")
    operator.find("#id_why").send_keys(Keys.TAB)
    operator.focused().send_keys(Keys.ENTER)
    operator.until(lambda: "/accept/" not in operator.driver.current_url, what="the decision")
    operator.until_text("the vendor fixes it in its next release")
    entry = BacklogEntry.objects.get(project=project, issue_key="test:checkout-13")
    assert (entry.status, entry.accepted_until is not None) == ("accepted", True)
    assert BacklogEvent.objects.get(entry=entry, event="accepted").who == NAME
    operator.shot("issue")
    hostile = BacklogEntry.objects.get(project=project, category="static_check")
    operator.open(f"/admin/issues/backlogentry/{hostile.pk}/change/")
    assert "<img src=x onerror=" in operator.text()
    assert operator.driver.title != "acted"


def test_a_person_makes_a_token_and_revokes_it(operator: Browser, project: Project) -> None:
    operator.open("/admin/runs/apitoken/add/")
    operator.shot("token-new")
    operator.fill("#id_agent_name", "nightly-builder")
    operator.find("input[name=roles][value=builder]").click()
    operator.fill("#id_why", "builds the plans of the night")
    operator.press("Save")
    value = operator.text("#token-value")
    assert caller_of(value) is not None
    operator.press("I have kept it")
    operator.until_text("nightly-builder")
    operator.shot("tokens")
    token = ApiToken.objects.get(agent__name="nightly-builder")
    operator.press(token.prefix)
    operator.click("a[href$='/revoke/']")
    operator.until_text("whoever presents one is refused")
    operator.shot("token-revoke")
    operator.fill("#id_why", "it was in a log")
    operator.press("Revoke")
    operator.until_text("Revoke: ")
    assert caller_of(value) is None
    said = (
        LogEntry.objects.filter(object_id=str(token.pk))
        .order_by("id")
        .values_list("change_message", flat=True)
    )
    assert list(said) == [
        "Made for nightly-builder with builder. Why: builds the plans of the night",
        "Revoked. Why: it was in a log",
    ]


def test_a_person_sees_what_is_stuck_and_brings_it_on(operator: Browser, project: Project) -> None:
    create_roles()
    long_ago = clock.now() - timedelta(hours=2)
    Outbox.objects.create(
        topic="artefacts.write", key="run-7", reference={"run_id": "run-7"}, due_at=long_ago, sends=6,
        sent_at=long_ago, created_at=long_ago,
    )  # fmt: skip
    operator.open("/admin/stuck/")
    operator.shot("stuck")
    operator.press("Send again")
    operator.until_text("rows say what is done")
    operator.shot("stuck-retry")
    operator.fill("#why", "the queue was emptied by hand")
    operator.press("Send again")
    operator.until_text("Sent artefacts.write again")


def test_the_other_pages_of_the_desk_are_drawn(operator: Browser, project: Project) -> None:
    create_roles()
    for name, path in (
        ("project", f"/admin/strategy/project/{project.pk}/change/"),
        ("project-configure", f"/admin/strategy/project/{project.pk}/configure/"),
        ("agents", "/admin/runs/agent/"),
        ("people", "/admin/auth/user/"),
        ("schedule", "/admin/django_celery_beat/periodictask/"),
        ("audit", "/admin/admin/logentry/"),
    ):
        operator.open(path)
        operator.find("#content, main")
        operator.shot(name)
