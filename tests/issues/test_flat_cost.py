"""What one report costs does not grow with what the run holds: the same statements, each found by an index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from issues.ledger import DatabaseLedger
from runs.models import Phase
from tests.factories import make_run
from tests.issues.reports import report

pytestmark = pytest.mark.django_db
ledger = DatabaseLedger()
MANY = 600
# The tables that grow with issues; the others hold a row each for the run, its tier, its phase and its project.
GROWING = {"issues_issue", "issues_tierissue", "issues_runindexentry", "issues_backlogentry", "runs_outbox"}


def statements(phase: Phase, key: str, reporter: str = "tests", **said: Any) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        ledger.record(phase.pk, [report(key, **said)], reporter=reporter)
    return [query["sql"] for query in captured.captured_queries]


def filled(count: int) -> Phase:
    run = make_run(max_minor_issues_total=10 * MANY)  # over its cap each report wakes the supervisor as well
    phase = run.phases.select_related("tier").earliest("phase_index")
    ledger.record(phase.pk, [report(f"held-{n}") for n in range(count)], reporter="tests")
    for _ in range(3):  # what is remembered a process is read now, and what a connection keeps is prepared
        statements(phase, "warm")
    return phase


def scanned(sql: str) -> set[str]:
    """Return the tables that the plan reads whole, though the planner was asked to avoid it."""
    found: set[str] = set()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        answer = cursor.fetchone()[0]
        cursor.execute("SET LOCAL enable_seqscan = on; SET LOCAL plan_cache_mode = auto")
    nodes = [one["Plan"] for one in (json.loads(answer) if isinstance(answer, str) else answer)]
    while nodes:
        node = nodes.pop()
        if node["Node Type"] == "Seq Scan":
            found.add(node["Relation Name"])
        nodes += node.get("Plans", [])
    return found


@pytest.mark.parametrize("key", ["new", "held-0"])
def test_a_report_takes_as_many_statements_in_a_run_that_holds_hundreds(key: str) -> None:
    few, many = filled(1), filled(MANY)
    assert len(statements(many, key)) == len(statements(few, key))


def placed(number: int) -> dict[str, Any]:
    return {"description": f"Function f{chr(97 + number)} fails", "evidence_refs": (f"src/{number}.py",)}


# What a report brings, and how many statements it takes at most: sixteen where all that it says is known.
COSTS: list[tuple[dict[str, Any], int]] = [
    ({"key": "held-0", **placed(0)}, 16),
    # another reporter's vote is written by the same statement
    ({"key": "held-0", "reporter": "another", **placed(0)}, 16),
    # a key that is new, for a known place
    ({"key": "zz", "reporter": "another", **placed(0)}, 18),
    # another place of a known key
    ({"key": "held-0", **placed(1)}, 17),
    # a new issue, with its event
    ({"key": "new", **placed(2)}, 18),
    # a key that the issue goes by from now on: its entry, its rows in the run, its other names, and an event
    ({"key": "a", **placed(0)}, 31),
]


def test_names_and_votes_add_a_bounded_number_of_statements_however_many_an_issue_has() -> None:
    for held in (1, MANY):
        phase = filled(held)
        ledger.record(phase.pk, [report("held-0", **placed(0))], reporter="tests")
        for number in range(held // 20):
            ledger.record(phase.pk, [report(f"y-{number}", **placed(0))], reporter=f"voter-{number}")
        found = [len(statements(phase, **said)) for said, _most in COSTS]
        assert [count > most for count, (_said, most) in zip(found, COSTS, strict=True)] == [False] * 6, found


def test_every_statement_of_a_report_finds_its_rows_by_an_index() -> None:
    phase = filled(MANY)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    statements(phase, "held-2")
    planned = [
        sql
        for sql in statements(phase, "held-1")
        if sql.startswith(("SELECT", "UPDATE", "WITH", "INSERT", "EXECUTE"))
    ]
    assert len(planned) >= 8
    assert {table for sql in planned for table in scanned(sql)} & GROWING == set()


def test_a_plan_that_reads_a_whole_table_is_noticed() -> None:
    filled(3)
    assert scanned("SELECT * FROM issues_issue WHERE description = 'x'") == {"issues_issue"}
