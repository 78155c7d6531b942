"""A backlog listed, searched, counted and told over HTTP: what is found, in what order, and by which index."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from issues import search
from issues.decisions import accept_entry, resolve_entry
from issues.ledger import DatabaseLedger
from issues.models import BacklogEntry, BacklogEvent
from issues.search import Wanted
from strategy.models import Project
from tests.factories import make_project, make_run
from tests.issues.http import client, entry_of, saw

pytestmark = [pytest.mark.django_db, pytest.mark.urls("issues.api.urls")]
ledger = DatabaseLedger()


@pytest.fixture
def project() -> Project:
    """A default project of five issues: open, old, major, accepted and resolved."""
    project = make_project("shop", is_default=True)
    first = make_run(project, run_id="r1")
    wrong = {"category": "correctness", "description": "It rounds down"}
    saw(first, "prices::rounding", evidence_refs=("shop/prices.py:14",), **wrong)
    saw(first, "prices::old", evidence_refs=("shop/old/prices.py",), **wrong)
    # of another project, though it has the cause
    saw(make_run(make_project("other")), "prices::else", evidence_refs=("shop/prices.py",), **wrong)
    ledger.begin_run("r2", project.pk)
    ledger.begin_run("r3", project.pk)
    second = make_run(project, run_id="r4")
    saw(second, "auth-leak", severity="major", category="security", evidence_refs=("shop/auth/login.py",))
    saw(second, "accepted-one", "resolved_one", category="docs", evidence_refs=("docs/README.md",))
    accept_entry(entry_of("accepted-one").pk, until=clock.now() + timedelta(days=1), by="ann", why="known")
    resolve_entry(entry_of("resolved_one").pk, by="ann", why="fixed")
    return project


def keys(http: Any, query: str = "") -> list[str]:
    answer = http.get(f"/project/issues?{query}")
    assert answer.status_code == 200, answer.content
    return [entry["issue_key"] for entry in answer.json()["entries"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["resolved_one", "accepted-one", "auth-leak", "prices::old", "prices::rounding"]),
        ("status=open", ["auth-leak", "prices::old", "prices::rounding"]),
        ("status=resolved,accepted", ["resolved_one", "accepted-one"]),
        ("severity=major", ["auth-leak"]),
        ("category=docs", ["resolved_one", "accepted-one"]),
        ("category=doc", []),
        ("accepted=true", ["accepted-one"]),
        ("accepted=false", ["resolved_one", "auth-leak", "prices::old", "prices::rounding"]),
        ("min_age_in_runs=2", ["prices::old", "prices::rounding"]),
        ("min_age_in_runs=3", []),
        ("min_age_in_tiers=1", []),
        ("seen_in_run=r1", ["prices::old", "prices::rounding"]),
        ("seen_in_run=r9", []),
        ("path=shop/", ["auth-leak", "prices::old", "prices::rounding"]),
        ("path=shop/old", ["prices::old"]),
        ("path=shop/pri", ["prices::rounding"]),
        ("path=prices.py", []),
        ("path=SHOP", []),
        ("issue_key=prices::old", ["prices::old"]),
        ("q=prices", ["prices::old", "prices::rounding"]),
        ("q=ROUND+correct", ["prices::rounding"]),
        ("q=login.py", ["auth-leak"]),
        ("q=README+one", ["resolved_one", "accepted-one"]),
        ("group={prices::old}", ["prices::old", "prices::rounding"]),
        ("group={prices::rounding}&path=shop/old", ["prices::old"]),
        ("group={auth-leak}", ["auth-leak"]),
        ("group=999999999", []),
        ("q=rices", []),
        ("q=%25%27%3A%2A", ["resolved_one", "accepted-one", "auth-leak", "prices::old", "prices::rounding"]),
        ("q=prices&category=docs", []),
        ("q=one&status=accepted&path=docs&seen_in_run=r4", ["accepted-one"]),
    ],
)
def test_what_is_asked_for_is_found_newest_first(project, query, found):
    asked = re.sub(r"\{(.+?)\}", lambda key: str(entry_of(key[1]).pk), query)
    assert keys(client("reader"), asked) == found


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("status=shut", "status"),
        ("status=open,", "status"),
        ("severity=fatal", "severity"),
        ("accepted=perhaps", "accepted"),
        ("min_age_in_runs=-1", "min_age_in_runs"),
        ("min_age_in_tiers=9999999999", "min_age_in_tiers"),
        ("path=", "path"),
        ("group=0", "group"),
        ("q=" + "x" * 257, "q"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_a_filter_that_can_be_none_is_422_at_its_place(project, query, name):
    answer = client("reader").get(f"/project/issues?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", name]


def test_a_row_of_the_list_has_ages_times_and_files(project):
    [row] = client("reader").get("/project/issues?issue_key=prices::rounding").json()["entries"]
    entry = entry_of("prices::rounding")
    assert row == {
        "id": entry.pk, "issue_key": "prices::rounding", "category": "correctness", "base_severity": "minor",
        "effective_severity": "minor", "status": "open", "accepted_until": None, "age_in_runs": 2,
        "age_in_tiers": 0, "occurrence_count": 1, "first_seen_run_id": "r1", "last_seen_run_id": "r1",
        "first_seen_at": clock.stamp(entry.first_seen_at), "last_seen_at": clock.stamp(entry.last_seen_at),
        "opened_at": clock.stamp(entry.opened_at), "paths": ["shop/prices.py"], "votes": 1,
    }  # fmt: skip


def test_pages_hold_every_entry_once_whatever_comes_meanwhile(project):
    http = client("reader")
    seen, cursor = [], ""
    while cursor is not None:
        page = http.get(f"/project/issues?limit=2{cursor and '&cursor=' + cursor}").json()
        seen += [entry["issue_key"] for entry in page["entries"]]
        cursor = page["next_cursor"]
        saw(make_run(project), f"new-{len(seen)}")
    assert seen == ["resolved_one", "accepted-one", "auth-leak", "prices::old", "prices::rounding"]


def test_a_project_is_named_or_the_token_s_and_another_is_not_found(project):
    side = make_project("side")
    saw(make_run(side), "elsewhere")
    assert keys(client("reader", name="a"), "project_id=side") == ["elsewhere"]
    scoped = client("reader", project=side, name="b")
    assert keys(scoped) == ["elsewhere"]
    for path in ("", "/facets", "/export"):
        answer = scoped.get(f"/project/issues{path}?project_id=shop")
        assert (answer.status_code, answer.json()["code"]) == (404, "project-not-found")


# --- facets ----------------------------------------------------------------------------------------------


def counts(http: Any, query: str = "") -> dict[str, dict[str, Any]]:
    told = http.get(f"/project/issues/facets?{query}").json()
    return {
        name: {row["value"]: f"{row['count']}{'+' if row['is_at_least'] else ''}" for row in told[name]}
        for name in ("status", "severity", "category")
    }


def test_each_facet_counts_its_values_without_its_own_filter(project):
    http = client("reader")
    assert counts(http) == {
        "status": {"open": "3", "needs_cleanup": "0", "resolved": "1", "reopened": "0", "accepted": "1"},
        "severity": {"minor": "4", "major": "1"},
        "category": {"correctness": "2", "docs": "2", "security": "1"},
    }
    docs = counts(http, "category=docs")
    assert docs["status"]["accepted"] == docs["status"]["resolved"] == "1"
    assert docs["status"]["open"] == "0"
    assert docs["category"] == {"correctness": "2", "docs": "2", "security": "1"}
    assert counts(http, "q=prices")["category"] == {"correctness": "2", "docs": "0", "security": "0"}


@pytest.mark.parametrize("query", ["", "q=one"])
def test_no_count_goes_further_than_it_is_told(project, monkeypatch, query):
    monkeypatch.setattr(search, "COUNTED", 1)
    told = counts(client("reader"), query)
    assert told["category"]["docs"] == "1+"
    assert told["status"]["needs_cleanup"] == ("0+" if query else "0")


# --- one entry -------------------------------------------------------------------------------------------


def test_one_entry_shows_its_evidence_run_by_run(project):
    again = make_run(project, run_id="r5")
    saw(again, "prices::rounding", phase_id="P2", reporter="bob", description="off by one",
        evidence_refs=("shop/prices.py:99",))  # fmt: skip
    saw(make_run(make_project()), "prices::rounding", reporter="stranger")
    body = client("reader").get(f"/project/issues/{entry_of('prices::rounding', project).pk}").json()
    assert (body["project_id"], body["seen_in_runs"], body["occurrence_count"]) == ("shop", ["r1", "r5"], 2)
    newest, oldest = body["sightings"]
    assert (newest["run_id"], newest["phase_id"], newest["reporters"]) == ("r5", "P2", ["bob"])
    assert (newest["description"], newest["evidence_refs"]) == ("off by one", ["shop/prices.py:99"])
    assert (oldest["run_id"], oldest["reporters"]) == ("r1", ["b"])


def test_a_timeline_tells_every_event_in_pages(project):
    entry = entry_of("resolved_one")
    http = client("reader")
    saw(make_run(project), "resolved_one")
    told, cursor = [], ""
    while cursor is not None:
        page = http.get(f"/project/issues/{entry.pk}/timeline?limit=2{cursor and '&cursor=' + cursor}").json()
        told += page["events"]
        cursor = page["next_cursor"]
    assert [(event["event"], event["from_status"], event["to_status"]) for event in told] == [
        ("opened", "", "open"), ("resolved", "open", "resolved"), ("reopened", "resolved", "reopened")
    ]  # fmt: skip
    assert (told[1]["who"], told[1]["why"], told[1]["run_id"]) == ("ann", "fixed", "")
    assert len(told) == BacklogEvent.objects.filter(entry=entry).count()


@pytest.mark.parametrize("path", ["", "/timeline", "/accept", "/resolve"])
def test_an_entry_of_another_project_is_as_absent_as_one_that_is_not_there(project, path):
    pk = entry_of("auth-leak").pk
    scoped = client("operator", project=make_project("side"))
    body: Any = {"why": "w", "until": clock.stamp(clock.now() + timedelta(days=1))}
    call = scoped.get if path in ("", "/timeline") else scoped.post
    answers = [
        call(f"/project/issues/{entry}{path}", body, format="json") for entry in (pk, pk + 1000, 10**30)
    ]
    for answer, entry in zip(answers, (pk, pk + 1000, 10**30), strict=True):
        said = (answer.status_code, answer.json()["code"], answer.json()["detail"])
        assert said == (404, "backlog-entry-not-found", f"Backlog entry {entry} not found")
    assert entry_of("auth-leak").status == "open"


# --- decisions -------------------------------------------------------------------------------------------


def test_an_operator_accepts_and_resolves_with_a_reason(project):
    http = client("operator", name="ann")
    pk, until = entry_of("auth-leak").pk, clock.stamp(clock.now() + timedelta(days=3))
    body = http.post(f"/project/issues/{pk}/accept", {"until": until, "why": "later"}, format="json").json()
    assert (body["id"], body["status"], body["accepted_until"]) == (pk, "accepted", until)
    body = http.post(f"/project/issues/{pk}/resolve", {"why": "done"}, format="json").json()
    assert (body["status"], body["accepted_until"]) == ("resolved", None)
    events = BacklogEvent.objects.filter(entry=pk).order_by("id").values_list("event", "who", "why")
    assert list(events)[1:] == [("accepted", "ann", "later"), ("resolved", "ann", "done")]


@pytest.mark.parametrize(
    ("action", "body", "name"),
    [
        ("accept", {"why": "w"}, "until"),
        ("accept", {"why": "w", "until": "2020-01-01T00:00:00Z"}, "until"),
        ("accept", {"why": "w", "until": "soon"}, "until"),
        ("accept", {"until": "2100-01-01T00:00:00Z"}, "why"),
        ("resolve", {}, "why"),
        ("resolve", {"why": " \n"}, "why"),
        ("resolve", {"why": "x" * 4001}, "why"),
    ],
)
def test_a_decision_that_lacks_something_is_422_at_its_place(project, action, body, name):
    pk = entry_of("auth-leak").pk
    answer = client("operator").post(f"/project/issues/{pk}/{action}", body, format="json")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", name]
    assert entry_of("auth-leak").status == "open"


def test_what_is_resolved_is_not_resolved_again(project):
    pk = entry_of("resolved_one").pk
    answer = client("operator").post(f"/project/issues/{pk}/resolve", {"why": "w"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal-transition")


def test_a_decision_with_a_key_is_made_once(project):
    http = client("operator")
    pk = entry_of("auth-leak").pk
    answers = [
        http.post(
            f"/project/issues/{pk}/resolve", {"why": "w"}, format="json", headers={"Idempotency-Key": "k"}
        )
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert BacklogEvent.objects.filter(entry=pk, event="resolved").count() == 1


# --- what it costs ---------------------------------------------------------------------------------------

PATHS = ["/project/issues", "/project/issues?q=key", "/project/issues?min_age_in_runs=1&path=shop",
         "/project/issues?group={pk}", "/project/issues/facets", "/project/issues/facets?q=key",
         "/project/issues/{pk}",
         "/project/issues/{pk}/timeline"]  # fmt: skip


def test_reading_costs_the_same_statements_at_any_size(project):
    http = client("reader")
    pk = entry_of("auth-leak").pk
    costs: list[list[int]] = []
    for keys_ in (["key-0"], [f"key-{number}" for number in range(60)]):
        for _ in keys_[:3]:
            saw(make_run(project), *keys_, "auth-leak", category=f"c{len(costs)}")
        costs.append([])
        for path in PATHS:
            with CaptureQueriesContext(connection) as captured:
                assert http.get(path.format(pk=pk)).status_code == 200
            costs[-1].append(len(captured))
    assert costs[0] == costs[1]
    assert max(costs[0]) <= 5


def multiply(rows: int) -> Project:
    """Fill a project's backlog from one entry: one row in 100 of the rare kinds, each tenth of another project."""
    project, other = make_project("shop", is_default=True), make_project("side")
    saw(make_run(project, run_id="r1"), "key-seed", evidence_refs=("src/a.py",), description="it fails")
    is_rare = "n %% 100 = 0"
    told = {
        "project_id": f"CASE WHEN n %% 10 = 1 THEN {other.pk} ELSE {project.pk} END",
        "issue_key": "'key-' || n",
        "category": "'c' || n %% 7",
        "status": f"CASE WHEN {is_rare} THEN 'needs_cleanup' ELSE 'open' END",
        "effective_severity": f"CASE WHEN {is_rare} THEN 'major' ELSE 'minor' END",
        "runs_offset": "CASE WHEN n %% 4000 = 0 THEN 9 ELSE 0 END",
        "paths": "jsonb_build_array('src/module' || n %% 500 || '/file.py')",
    }
    names = [str(field.column) for field in BacklogEntry._meta.concrete_fields if not field.primary_key]
    values = ", ".join(told.get(name, name) for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO issues_backlogentry ({', '.join(names)}) "
            f"SELECT {values} FROM generate_series(1, %s) n, issues_backlogentry",
            [rows],
        )
        # as vacuum leaves it: words that wait to be sorted in make the index look slow to the planner
        cursor.execute("SELECT gin_clean_pending_list('backlog_words')")
        cursor.execute("ANALYZE issues_backlogentry")
    return project


def scans(sql: str) -> set[tuple[str, str]]:
    """Return how the plan reaches the backlog's rows, with the planner as it is: (node, index)."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        answer = cursor.fetchone()[0]
    nodes = [one["Plan"] for one in (json.loads(answer) if isinstance(answer, str) else answer)]
    found = set()
    while nodes:
        node = nodes.pop()
        if node.get("Relation Name") == "issues_backlogentry" or "Index Name" in node:
            found.add((node["Node Type"], node.get("Index Name", "")))
        nodes += node.get("Plans", [])
    return found


def test_lists_filters_searches_and_counts_find_their_rows_by_an_index():
    project = multiply(20_000)
    http = client("reader")
    wanted = {
        "": "",
        "status=needs_cleanup": "status",
        "severity=major": "major",
        "category=c3": "",
        "min_age_in_runs=9": "backlog_oldest",
        "issue_key=key-77": "one_issue_a_key_and_project",
        "seen_in_run=r1": "one_issue_a_key_and_project",
        "q=key+4242": "backlog_words",
        "path=src/module42/": "backlog_words",
        "cursor=5000": "",
        f"group={entry_of('key-seed').pk}": "one_issue_a_key_and_project",
    }
    slow = {}
    for query, index in wanted.items():
        with CaptureQueriesContext(connection) as captured:
            assert http.get(f"/project/issues?{query}").status_code == 200
        [page] = [q["sql"] for q in captured if "LIMIT 51" in q["sql"]]
        found = scans(page)
        is_found = any(index in name for _, name in found)
        if not is_found or any(node == "Seq Scan" for node, _ in found):
            slow[query] = found
    assert slow == {}
    for wanted_ in (Wanted(), Wanted(text="key 4242")):
        with CaptureQueriesContext(connection) as captured:
            search.facets(project.pk, wanted_)
        assert len(captured) == 2
        for asked in captured:
            assert not any(node == "Seq Scan" for node, _ in scans(asked["sql"])), asked["sql"][:300]
