"""The admin shows issues and backlogs and changes none."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogEvent, Issue, RunIndexEntry
from tests.factories import make_run
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
MODELS = {"backlogentry": BacklogEntry, "issue": Issue, "runindexentry": RunIndexEntry}


@pytest.fixture
def operator() -> Client:
    """A logged-in superuser: what even they can't do, nobody can."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def fill(number: int) -> None:
    run = make_run()
    reports = [report(f"<b>k{index}</b>", evidence_refs=("src/a.py:1",)) for index in range(number)]
    DatabaseLedger().record(run.phases.get(phase_id="P1").pk, reports, reporter="b")


@pytest.mark.parametrize("name", MODELS)
def test_a_list_costs_the_same_statements_for_one_row_and_for_30(operator, name):
    costs = []
    for number in (1, 29):
        fill(number)
        operator.get(f"/admin/issues/{name}/")
        with CaptureQueriesContext(connection) as captured:
            page = operator.get(f"/admin/issues/{name}/")
        assert page.status_code == 200
        assert "<b>k" not in page.content.decode()
        costs.append(len(captured))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("name", MODELS)
def test_a_row_is_shown_and_can_not_be_added_changed_or_deleted(operator, name):
    fill(1)
    row = MODELS[name]._default_manager.get()
    page = f"/admin/issues/{name}/{row.pk}"
    assert operator.get(f"{page}/change/").status_code == 200
    operator.post(f"{page}/change/", {"occurrence_count": "99", "status": "resolved"})
    assert MODELS[name]._default_manager.filter(occurrence_count=1).exists()
    assert operator.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    assert operator.get(f"/admin/issues/{name}/add/").status_code == 403


def test_an_entry_shows_its_history(operator):
    fill(1)
    page = operator.get(f"/admin/issues/backlogentry/{BacklogEntry.objects.get().pk}/change/")
    assert "reported in phase P1" in page.content.decode()
    assert BacklogEvent.objects.count() == 1
