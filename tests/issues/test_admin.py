"""The admin of issues: everything to be read, entries accepted and resolved with a reason, lists of any length."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from issues import aging_chart
from issues.facets import categories
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogEvent, Issue, RunIndexEntry
from runs import ports
from runs.models import Run
from strategy.admin import base
from tests.factories import make_project, make_run
from tests.fakes import FakeWorkspace
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
MODELS = {"backlogentry": BacklogEntry, "issue": Issue, "runindexentry": RunIndexEntry}
LIST = "/admin/issues/backlogentry/"
WHY = "known to the team"
TRICKS = "<script>alert(1)</script>\u202e\x1b[31m"


@pytest.fixture
def operator() -> Client:
    """A logged-in superuser: what even they can't do, nobody can."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def fill(number: int, **fields: Any) -> Run:
    run = make_run()
    reports = [
        report(f"<b>k{index}</b>", **{"evidence_refs": ("src/a.py:1",), **fields}) for index in range(number)
    ]
    DatabaseLedger().record(run.phases.get(phase_id="P1").pk, reports, reporter="b")
    return run


def page_of(entry: BacklogEntry, action: str = "change") -> str:
    return f"{LIST}{entry.pk}/{action}/"


def tomorrow() -> str:
    return (clock.now() + timedelta(days=1)).date().isoformat()


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
    page = operator.get(page_of(BacklogEntry.objects.get()))
    assert "reported in phase P1" in page.content.decode()
    assert BacklogEvent.objects.count() == 1


# --- decisions -------------------------------------------------------------------------------------------


def test_an_entry_is_accepted_from_its_page_and_the_trail_says_so(operator):
    fill(1)
    entry = BacklogEntry.objects.get()
    assert operator.get(page_of(entry, "accept")).status_code == 200
    body = {"until": tomorrow(), "why": WHY, "confirmed": "yes"}
    assert operator.post(page_of(entry, "accept"), body).headers["Location"] == page_of(entry)
    entry.refresh_from_db()
    assert entry.status == "accepted"
    assert entry.accepted_until is not None
    assert entry.accepted_until.date().isoformat() == tomorrow()
    event = BacklogEvent.objects.get(event="accepted")
    assert (event.who, event.why) == ("operator", WHY)
    trail = LogEntry.objects.get()
    assert trail.change_message == f"Accepted until {tomorrow()}. Why: {WHY}"
    assert (trail.user.username, trail.object_id) == ("operator", str(entry.pk))
    assert WHY in operator.get(page_of(entry)).content.decode()


def test_a_commit_that_is_none_is_refused_at_its_field(operator, monkeypatch):
    monkeypatch.setattr(ports, "workspace", FakeWorkspace)
    fill(1)
    entry = BacklogEntry.objects.get()
    page = operator.post(page_of(entry, "resolve"), {"why": WHY, "commit": "main", "confirmed": "yes"})
    assert set(page.context["form"].errors) == {"commit"}
    entry.refresh_from_db()
    assert entry.status == "open"


def test_selected_entries_are_resolved_after_one_confirmation(operator):
    fill(3)
    chosen = list(BacklogEntry.objects.order_by("id")[:2])
    body = {"action": "resolve_entries", "_selected_action": [entry.pk for entry in chosen]}
    page = operator.post(LIST, body)
    assert page.status_code == 200
    assert len(page.context["subjects"]) == 2
    assert not BacklogEntry.objects.filter(status="resolved").exists()
    operator.post(LIST, {**body, "why": WHY, "confirmed": "yes"})
    assert set(BacklogEntry.objects.filter(status="resolved")) == set(chosen)
    assert LogEntry.objects.count() == 2


def test_an_illegal_move_is_refused_with_its_reason_and_the_others_are_made(operator):
    fill(2)
    first, second = BacklogEntry.objects.order_by("id")
    BacklogEntry.objects.filter(pk=first.pk).update(status="resolved")
    body = {
        "action": "accept_entries", "_selected_action": [first.pk, second.pk], "until": tomorrow(), "why": WHY,
        "confirmed": "yes",
    }  # fmt: skip
    page = operator.post(LIST, body, follow=True).content.decode()
    assert "No move from resolved by accepted (illegal-transition)" in page
    second.refresh_from_db()
    assert second.status == "accepted"
    assert LogEntry.objects.get().object_id == str(second.pk)


@pytest.mark.parametrize(
    "fields", [{"why": ""}, {"why": " "}, {"until": "2020-01-01"}, {"until": ""}, {"until": "soon"}]
)
def test_a_decision_that_lacks_a_reason_or_a_future_changes_nothing(operator, fields):
    fill(1)
    entry = BacklogEntry.objects.get()
    body = {"until": tomorrow(), "why": WHY, "confirmed": "yes", **fields}
    page = operator.post(page_of(entry, "accept"), body)
    assert set(page.context["form"].errors) == set(fields)
    entry.refresh_from_db()
    assert entry.status == "open"
    assert not LogEntry.objects.exists()


def test_who_may_only_look_decides_nothing():
    fill(1)
    entry = BacklogEntry.objects.get()
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(viewer)
    body = {"until": tomorrow(), "why": WHY, "confirmed": "yes"}
    for action in ("accept", "resolve", "merge", "split"):
        assert client.get(page_of(entry, action)).status_code == 403
        assert client.post(page_of(entry, action), body).status_code == 403
    client.post(LIST, {**body, "action": "resolve_entries", "_selected_action": [entry.pk]})
    entry.refresh_from_db()
    assert entry.status == "open"
    assert client.get(f"{LIST}ages/").status_code == 200


def test_more_entries_than_a_person_can_look_at_are_not_decided_at_once(operator, monkeypatch):
    monkeypatch.setattr("strategy.admin.decisions.MAX_ROWS", 2)
    fill(3)
    body = {
        "action": "resolve_entries",
        "_selected_action": list(BacklogEntry.objects.values_list("pk", flat=True)),
    }
    page = operator.post(LIST, body, follow=True)
    assert "Select at most 2 rows" in page.content.decode()


# --- facets, ages, text ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [("status__exact=open", 3), ("status__exact=resolved", 1), ("effective_severity__exact=major", 1),
     ("category=docs", 2), ("category=none", 0), ("q=%3CB%3EK1", 2), ("q=k1", 2), ("q=1", 0),
     ("q=docs+K1", 1), ("q=src%2Fa", 4), ("q=test", 2), ("project__id__exact=x", 0)],
)  # fmt: skip
def test_facets_and_search_find_entries(operator, query, found):
    fill(2)
    fill(2, category="docs")
    first = BacklogEntry.objects.earliest("id")
    BacklogEntry.objects.filter(pk=first.pk).update(status="resolved", effective_severity="major")
    assert operator.get(f"{LIST}?{query}").context["cl"].result_count == found


def test_a_projects_entries_are_found_by_its_facet(operator):
    run = fill(2)
    fill(1)
    assert operator.get(f"{LIST}?project__id__exact={run.project_id}").context["cl"].result_count == 2


def test_issues_of_a_run_are_found_by_its_id(operator):
    run = fill(2)
    fill(1)
    for name in ("issue", "runindexentry"):
        assert operator.get(f"/admin/issues/{name}/?q={run.pk}").context["cl"].result_count == 2


def test_each_category_is_named_once():
    fill(2, category="docs")
    fill(2, category="api")
    assert categories(10) == ["api", "docs"]
    assert categories(1) == ["api"]


def test_the_page_of_ages_counts_and_draws_what_is_open(operator):
    project = make_project()
    run = make_run(project)
    ledger = DatabaseLedger()
    ledger.record(run.phases.get(phase_id="P1").pk, [report(f"k{n}") for n in range(4)], reporter="b")
    BacklogEntry.objects.filter(issue_key="k1").update(runs_offset=2)
    BacklogEntry.objects.filter(issue_key="k2").update(
        runs_offset=25, status="needs_cleanup", effective_severity="major"
    )
    BacklogEntry.objects.filter(issue_key="k3").update(status="resolved")
    counted = aging_chart.count(BacklogEntry.objects.all())
    assert counted.by_status == {"open": 2, "needs_cleanup": 1, "resolved": 1}
    assert counted.live == {(0, "minor"): 1, (2, "minor"): 1, (10, "major"): 1}
    page = operator.get(f"{LIST}ages/?project={project.project_id}")
    assert [entry.issue_key for entry, _ in page.context["oldest"]] == ["k2", "k1", "k0"]
    text = page.content.decode()
    assert "1 major, open for 10 or more runs" in text
    assert "3 runs, or 2 tiers" in text


def test_bars_stand_on_the_axis_and_fill_the_scale():
    chart = aging_chart.draw({(0, "minor"): 3, (0, "major"): 1, (10, "major"): 2}, threshold_runs=3)
    first, second, last = chart.bars
    assert first.y + first.height == chart.floor == last.y + last.height
    assert second.y + second.height == pytest.approx(first.y, abs=0.1)
    assert second.y == pytest.approx(chart.top, abs=0.1)
    assert (last.severity, last.x + last.width < chart.width) == ("major", True)
    assert [tick.text for tick in chart.counts] == ["0", "2", "4"]
    assert chart.limit_x is not None


def test_a_chart_of_nothing_is_drawn():
    assert aging_chart.draw({}, threshold_runs=None).bars == ()


@pytest.mark.parametrize("name", MODELS)
def test_what_agents_wrote_is_shown_as_text(operator, name):
    run = make_run()
    seen = report(TRICKS, category=TRICKS, source=TRICKS, evidence_refs=(f"{TRICKS}.py",), description=TRICKS)
    DatabaseLedger().record(run.phases.get(phase_id="P1").pk, [seen], reporter=TRICKS)
    row = MODELS[name]._default_manager.get()
    pages = [f"/admin/issues/{name}/", f"/admin/issues/{name}/{row.pk}/change/"]
    if isinstance(row, BacklogEntry):
        pages += [page_of(row, "accept"), f"{LIST}ages/"]
    for path in pages:
        text = operator.get(path).content.decode()
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e\\x1b[31m" in text


# --- length ----------------------------------------------------------------------------------------------


def test_a_long_list_is_counted_no_further_than_it_is_shown(operator, monkeypatch):
    monkeypatch.setattr(base, "COUNTED", 3)
    fill(5)
    with CaptureQueriesContext(connection) as captured:
        found = operator.get(LIST).context["cl"]
    assert (int(found.result_count), str(found.result_count)) == (3, "3+")
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert all("LIMIT 4" in sql for sql in counts if "issues_backlogentry" in sql)
    assert counts


def plan(sql: str) -> dict[str, set[str]]:
    """Return the tables that a statement reads whole, and what sorts it, with the planner as it is."""
    found: dict[str, set[str]] = {"Seq Scan": set(), "Sort": set()}
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        answer = cursor.fetchone()[0]
    nodes = [one["Plan"] for one in (json.loads(answer) if isinstance(answer, str) else answer)]
    while nodes:
        node = nodes.pop()
        if node["Node Type"] in found:
            found[node["Node Type"]].add(node.get("Relation Name", "?"))
        nodes += node.get("Plans", [])
    return found


def multiply(model: type[Any], rows: int) -> None:
    """Fill a table from its only row, one row in 50 being of the rare kinds."""
    row = model._default_manager.get()
    is_rare = "n %% 50 = 0"
    told = {
        "issue_key": "'key-' || n",
        "category": "'c' || n %% 7",
        "status": f"CASE WHEN {is_rare} THEN 'needs_cleanup' ELSE 'open' END",
        "effective_severity": f"CASE WHEN {is_rare} THEN 'major' ELSE 'minor' END",
        "expected_fail": is_rare,
    }
    names = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    table = model._meta.db_table
    values = ", ".join(told.get(name, name) for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(names)}) "
            f"SELECT {values} FROM generate_series(1, %s) n, {table} WHERE id = %s",
            [rows, row.pk],
        )
        cursor.execute(f"ANALYZE {table}")


def test_no_list_reads_or_sorts_a_whole_table(operator):
    fill(1)
    multiply(BacklogEntry, 6000)
    multiply(Issue, 6000)
    filters = {
        "backlogentry": ["", "status__exact=needs_cleanup", "status__exact=open", "category=c3",
                         "effective_severity__exact=major", "q=key-1"],
        "issue": ["", "effective_severity__exact=major", "expected_fail__exact=1", "q=key-1"],
    }  # fmt: skip
    slow = []
    for name, queries in filters.items():
        table = MODELS[name]._meta.db_table
        for query in queries:
            with CaptureQueriesContext(connection) as captured:
                assert operator.get(f"/admin/issues/{name}/?{query}").status_code == 200
            [page] = [
                q["sql"] for q in captured if f'"{table}"."id", ' in q["sql"] and "LIMIT 50" in q["sql"]
            ]
            found = plan(page)
            if table in found["Seq Scan"] or (found["Sort"] and "q=" not in query):
                slow.append((name, query))
    assert slow == []
