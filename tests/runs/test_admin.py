"""The admin of runs: everything to be seen, nothing to be edited, changes through services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs import ports, services, supervisor
from runs.figures import Figures
from runs.models import Attempt, Run
from runs.tokens import create_token
from strategy.models import Project
from strategy.services import add_project
from strategy.types import PhaseSpec, Plan, RunOptions, TierSpec
from tests.fakes import PORTS

pytestmark = pytest.mark.django_db
# Kept answers are bytes for repeats, which no person needs to read.
MODELS = sorted(
    {model._meta.model_name or "" for model in apps.get_app_config("runs").get_models()} - {"keptanswer"}
)


@pytest.fixture(autouse=True)
def _fake_ports(settings: Any, redis_url: str) -> Iterator[None]:
    settings.AUTOPACK_PORTS = PORTS
    ports._adapter.cache_clear()
    yield
    ports._adapter.cache_clear()


@pytest.fixture
def project() -> Project:
    return add_project("demo", name="d", source="/srv/x.git", config_text=None, is_default=True, by="tests")


def start(run_id: str) -> str:
    plan = Plan((TierSpec("t1", 1, "T"),), (PhaseSpec("p1", "t1", 1, "P", task_category="docs"),))
    services.start_run(run_id, project_id=None, plan=plan, options=RunOptions(), by="tests")
    supervisor.step(run_id)
    return run_id


@pytest.fixture
def worked_run(project: Project) -> str:
    """A run with a lease, an attempt, ledger lines and history."""
    run_id = start("r1")
    claim = services.claim_phase(run_id, agent="b")
    assert claim is not None
    services.heartbeat(claim.lease_id, fence=claim.fence, figures=Figures(tokens=5))
    Attempt.objects.update(patch=b"diff --git a/\xff b/x\n")
    return run_id


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="irrelevant"))
    return client


def test_every_table_of_runs_is_in_the_admin():
    registered = {model._meta.model_name for model in admin.site._registry}
    assert set(MODELS) <= registered


@pytest.mark.parametrize("name", MODELS)
def test_lists_and_pages_are_shown(worked_run: str, operator: Client, name: str):
    create_token("b", roles=["builder"])
    assert operator.get(f"/admin/runs/{name}/?q=r").status_code == 200
    row = apps.get_model("runs", name)._default_manager.first()
    if name != "outbox" or row is not None:
        assert row is not None
        answer = operator.get(f"/admin/runs/{name}/{row.pk}/change/")
        assert answer.status_code == 200
        assert b'name="_save"' not in answer.content


@pytest.mark.parametrize("name", MODELS)
def test_no_row_is_edited_or_deleted_by_hand(worked_run: str, operator: Client, name: str):
    create_token("b", roles=["builder"])
    row = apps.get_model("runs", name)._default_manager.first()
    if row is not None:
        assert operator.post(f"/admin/runs/{name}/{row.pk}/change/", {}).status_code == 403
        assert operator.post(f"/admin/runs/{name}/{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_a_list_takes_the_same_number_of_queries_at_any_size(project: Project, operator: Client):
    counts = []
    for wanted in (1, 4):
        for number in range(Run.objects.count(), wanted):
            start(f"r{number}")
        with CaptureQueriesContext(connection) as queries:
            assert operator.get("/admin/runs/run/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_list_of_attempts_does_not_read_patches(worked_run: str, operator: Client):
    with CaptureQueriesContext(connection) as queries:
        operator.get("/admin/runs/attempt/")
    assert not [query for query in queries if '"runs_attempt"."patch"' in query["sql"]]


def test_an_attempts_page_shows_its_patch_as_text(worked_run: str, operator: Client):
    attempt = Attempt.objects.get()
    page = operator.get(f"/admin/runs/attempt/{attempt.pk}/change/").content.decode()
    assert "diff --git a/\ufffd b/x" in page


def test_cancelling_reports_what_could_not_be_cancelled(project: Project, operator: Client):
    start("r1")
    start("r2")
    services.cancel_run("r1", by="someone", why="before")
    body = {"action": "cancel_runs", "_selected_action": ["r1", "r2"]}
    assert operator.post("/admin/runs/run/", body).status_code == 200
    assert Run.objects.get(pk="r2").completed_at is None
    confirmed = {**body, "confirmed": "yes", "why": "the plan was wrong"}
    page = operator.post("/admin/runs/run/", confirmed, follow=True).content.decode()
    assert "r1: Run r1 has ended: DONE_CANCELLED (run-ended)" in page
    assert "Cancel them: 1 of 2" in page
    run = Run.objects.get(pk="r2")
    assert run.state == "DONE_CANCELLED"
    ended = run.transitions.get(to_state="DONE_CANCELLED")
    assert (ended.who, ended.why) == ("root", "the plan was wrong")
    assert LogEntry.objects.get().change_message == "Cancelled. Why: the plan was wrong"


def test_who_may_only_look_can_not_cancel(project: Project):
    start("r1")
    viewer = User.objects.create_user("viewer", password="irrelevant", is_staff=True)
    viewer.user_permissions.add(*_permissions("view_run"))
    client = Client()
    client.force_login(viewer)
    body = {"action": "cancel_runs", "_selected_action": ["r1"], "confirmed": "yes", "why": "x"}
    client.post("/admin/runs/run/", body)
    assert Run.objects.get().completed_at is None


def _permissions(*names: str) -> list[Any]:
    from django.contrib.auth.models import Permission

    return list(Permission.objects.filter(codename__in=names))
