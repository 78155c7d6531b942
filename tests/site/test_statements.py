"""Statements that a connection keeps give what the same SQL gives, first used, prepared and prepared before."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import override_settings

from autopack_site.kernel.prepared import Prepared
from autopack_site.kernel.statements import Statement, written_in
from runs.models import Phase, Run
from tests.factories import make_run

pytestmark = pytest.mark.django_db
USES = 4  # an ordinary one, the one that prepares, and two that use what is prepared


def kept(label: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE %s", [f"{label}%"])
        return int(cursor.fetchone()[0])


def test_every_use_gives_the_rows_of_its_own_values() -> None:
    add = Statement("SELECT %s::int + %s::int, 'a%%' || %s::text", label="t_add")
    found = [add([number, 1, "%s"]) for number in range(USES)]
    assert found == [[(number + 1, "a%%s")] for number in range(USES)]


def test_a_named_value_may_stand_in_several_places_of_different_types() -> None:
    twice = Statement("SELECT %(one)s::text, %(other)s::int, %(one)s::varchar(1)", label="t_named")
    assert [twice({"one": "ab", "other": 3}) for _ in range(USES)] == [[("ab", 3, "a")]] * USES


def test_the_second_use_prepares_and_the_others_use_it() -> None:
    one = Statement("SELECT %s::int", label="t_second")
    counts = []
    for number in range(USES):
        one([number])
        counts.append(kept("t_second"))
    assert counts == [0, 1, 1, 1]


def test_values_that_look_like_sql_are_values() -> None:
    same = Statement("SELECT %s::text", label="t_same")
    hostile = "'; DROP TABLE runs_run; --"
    assert [same([hostile]) for _ in range(USES)] == [[(hostile,)]] * USES


def test_a_statement_without_values_or_rows_may_be_kept() -> None:
    nothing = Statement("DELETE FROM runs_outbox WHERE false", label="t_nothing")
    assert [nothing([]) for _ in range(USES)] == [[]] * USES


def test_a_use_that_fails_while_it_is_prepared_leaves_the_statement_usable() -> None:
    half = Statement("SELECT 1 / %s::int", label="t_half")
    half([1])
    for _ in range(2):
        with pytest.raises(Exception, match="division by zero"), transaction.atomic():
            half([0])
    assert [half([1]), half([1])] == [[(1,)]] * 2


def test_a_constraint_refuses_by_a_kept_statement_as_by_any() -> None:
    run = make_run()
    opened = Statement(
        "INSERT INTO issues_backlogtally (project_id, runs, tiers) VALUES (%s, 0, 0)", label="t_tally"
    )
    opened([run.project_id])
    for _ in range(USES):
        with pytest.raises(IntegrityError, match="issues_backlogtally_pkey"), transaction.atomic():
            opened([run.project_id])


@pytest.mark.django_db(transaction=True)
def test_another_connection_knows_nothing_of_it_and_is_served() -> None:
    one = Statement("SELECT %s::int", label="t_other")
    for number in range(USES):
        one([number])
    connection.close()
    assert [one([number]) for number in range(USES)] == [[(number,)] for number in range(USES)]
    assert kept("t_other") == 1


def test_nothing_is_prepared_where_that_is_switched_off() -> None:
    one = Statement("SELECT %s::int", label="t_off")
    with override_settings(PREPARED_STATEMENTS=False):
        assert [one([number]) for number in range(USES)] == [[(number,)] for number in range(USES)]
    assert kept("t_off") == 0


def test_a_querysets_own_constants_are_part_of_its_statement() -> None:
    run = make_run()
    Phase.objects.filter(run=run).update(name="100% 'done'")
    named = Prepared[Phase](
        lambda run_id: Phase.objects.filter(run=run_id, name="100% 'done'", state="QUEUED")
    )
    every = list(Phase.objects.filter(run=run))
    assert [named(run.pk) for _ in range(USES)] == [every] * USES
    assert named("another") == []


def test_a_constant_that_equals_no_value_is_told_from_the_values() -> None:
    run = make_run()
    both = Prepared[Run](lambda one, other: Run.objects.filter(pk__in=[one, other, "fixed"]).order_by("pk"))
    assert [both(run.pk, "none") for _ in range(USES)] == [[run]] * USES


def test_a_text_takes_its_place_and_a_doubled_percent_sign_stays() -> None:
    assert (
        written_in("a LIKE '%%x' AND b = %s AND c = %s", ["'5%'", None])
        == "a LIKE '%%x' AND b = '5%%' AND c = %s"
    )
