"""Statements compiled once give what Django's own queries give, whatever the values are."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import Prepared, PreparedInsert, PreparedRows
from issues.models import TierIssue
from runs import rows
from runs.models import Phase, Run, Tier, TokenEntry
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def fields(row: Run | Phase | Tier) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_rows_and_their_relations_are_as_the_queryset_reads_them() -> None:
    run = make_run(tiers=2, phases_per_tier=3)
    for phase in run.phases.select_related("run__project", "tier"):
        found = rows.phase_with_run.first(run.pk, phase.phase_id)
        assert found is not None
        with CaptureQueriesContext(connection) as asked:
            assert fields(found) == fields(phase)
            assert fields(found.tier) == fields(phase.tier)
            assert found.run.project == phase.run.project
        assert len(asked) == 0


def test_a_json_column_is_read_as_its_value() -> None:
    run = make_run()
    phase = rows.phases_of_run(run.pk)[0]
    assert phase.limits == Phase.objects.get(pk=phase.pk).limits
    assert isinstance(phase.limits, dict)


def test_a_deferred_column_is_read_when_it_is_asked_for() -> None:
    run = make_run()
    lean = Prepared[Phase](lambda run_id: Phase.objects.defer("description").filter(run=run_id))
    phase = lean(run.pk)[0]
    assert "description" not in phase.__dict__
    assert phase.description == Phase.objects.get(pk=phase.pk).description


def test_the_order_of_the_model_holds() -> None:
    run = make_run(phases_per_tier=4)
    Phase.objects.filter(run=run, phase_index=0).update(phase_index=99)
    assert [p.pk for p in rows.phases_of_run(run.pk)] == [p.pk for p in run.phases.all()]


def test_each_value_gets_its_own_rows() -> None:
    one, other = make_run(), make_run()
    found = rows.run_by_id.first(one.pk), rows.run_by_id.first(other.pk)
    assert found == (one, other)


def test_a_value_that_looks_like_sql_is_a_value() -> None:
    run = make_run()
    assert rows.run_by_id.first("' OR '1'='1") is None
    assert rows.run_by_id.first(run.pk) == run


def test_lists_of_any_length_match_their_members() -> None:
    run = make_run(phases_per_tier=3)
    of = Prepared[Phase](lambda run_id, names: Phase.objects.filter(run=run_id, phase_id__in=names))
    names = [phase.phase_id for phase in run.phases.all()]
    for length in (1, 3, 2, 1):
        assert [phase.phase_id for phase in of(run.pk, names[:length])] == names[:length]


def test_columns_come_as_rows_with_their_names_and_as_what_their_fields_make_of_them() -> None:
    run = make_run()
    columns = PreparedRows(lambda run_id: Phase.objects.filter(run=run_id).values_list("phase_id", "limits"))
    found = columns(run.pk)
    assert [(row.phase_id, row.limits) for row in found] == list(run.phases.values_list("phase_id", "limits"))
    assert isinstance(found[0].limits, dict)


def test_a_time_is_a_value_like_others() -> None:
    early, late = make_run(), make_run()
    now = clock.now()
    Run.objects.filter(pk=early.pk).update(created_at=now - timedelta(hours=2))
    Run.objects.filter(pk=late.pk).update(created_at=now)
    before = PreparedRows(lambda moment: Run.objects.filter(created_at__lt=moment).values_list("pk"))
    assert [row.pk for row in before(now - timedelta(hours=1))] == [early.pk]
    assert {row.pk for row in before(now + timedelta(hours=1))} == {early.pk, late.pk}


def test_an_empty_list_matches_nothing_and_asks_nothing() -> None:
    of = Prepared[Phase](lambda names: Phase.objects.filter(phase_id__in=names))
    with CaptureQueriesContext(connection) as asked:
        assert of([]) == []
    assert len(asked) == 0


@pytest.mark.django_db(transaction=True)
def test_a_statement_compiled_by_a_thread_that_is_gone_serves_the_others() -> None:
    run = make_run()
    of = Prepared[Run](lambda run_id: Run.objects.filter(pk=run_id))

    def first() -> None:
        of(run.pk)
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    thread.join()
    assert of.first(run.pk) == run


def test_reading_again_brings_the_counters_and_the_tier_up_to_date() -> None:
    run = make_run()
    phase = rows.phases_of_run(run.pk)[0]
    before = phase.tier.minor_issues_count
    Phase.objects.filter(pk=phase.pk).update(minor_issues_count=3)
    Tier.objects.filter(pk=phase.tier_id).update(minor_issues_count=4)
    rows.reread(phase)
    assert (phase.minor_issues_count, phase.tier.minor_issues_count) == (3, 4)
    assert before == 0


def test_reading_again_a_row_that_is_gone_says_so() -> None:
    run = make_run()
    Run.objects.filter(pk=run.pk).delete()
    with pytest.raises(Run.DoesNotExist):
        rows.reread(run)


def test_an_inserted_row_has_its_key_and_its_defaults() -> None:
    run = make_run()
    made = PreparedInsert(TokenEntry)(
        run_id=run.pk, kind="reserve", envelope="build", tokens=7, usage_source="derived", at=clock.now()
    )
    stored = TokenEntry.objects.get(pk=made.pk)
    assert (stored.tokens, stored.reason, stored.phase_id) == (7, "", None)


def test_rows_of_a_key_that_is_there_are_overwritten_and_keep_their_place() -> None:
    tier = make_run(tiers=1).tiers.get()
    put = PreparedInsert(TierIssue, unique=["tier", "issue_key"])
    first = put(tier=tier, issue_key="a", effective_severity="minor")
    again = [
        TierIssue(tier=tier, issue_key=key, effective_severity=severity)
        for key, severity in (("b", "minor"), ("a", "major"))
    ]
    put.many(again)
    stored = dict(TierIssue.objects.filter(tier=tier).values_list("issue_key", "effective_severity"))
    assert stored == {"a": "major", "b": "minor"}
    assert again[1].pk == first.pk
