"""From an earlier release's database to this one: what was in it is still right, and is held to today's rules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from issues.models import BacklogEntry, RunIndexEntry
from runs import services
from runs.models import ApiToken, Attempt, Lease, Run, Transition
from strategy.models import Project
from tests.flows.conftest import _admin, _using, database_url

RELEASES = sorted(Path(__file__).parent.glob("release_*.sql"), key=lambda path: path.name)
OURS = ("strategy", "runs", "issues", "integration")
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
NAME, FRESH = f"test_upgrade_{_WORKER}", f"test_fresh_{_WORKER}"
SCHEMA = {
    "columns": "SELECT table_name, column_name, udt_name, is_nullable, character_maximum_length"
    " FROM information_schema.columns WHERE table_schema = 'public'",
    "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "triggers": "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal",
}


def rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def schema() -> dict[str, list[list[str]]]:
    """What there is. PostgreSQL writes the casts of a condition differently once it was dumped and read again."""
    casts = re.compile(r"::character varying|::text|\[\]|[() ]")
    return {
        kind: sorted([casts.sub("", str(value)) for value in row] for row in rows(query))
        for kind, query in SCHEMA.items()
    }


@pytest.fixture(scope="module", params=RELEASES, ids=lambda path: path.stem)
def upgraded(
    request: pytest.FixtureRequest, migrated: str, django_db_blocker: Any
) -> Iterator[dict[str, Any]]:
    """This process's connection on a database of the release, migrated; what was known before comes with it."""
    text = request.param.read_text(encoding="utf-8")
    with django_db_blocker.unblock():
        for name, like in ((FRESH, f' TEMPLATE "{migrated}"'), (NAME, "")):
            _admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"{like}')
        with _using(FRESH):
            fresh = schema()
        loader = psycopg2.connect(database_url(NAME))
        with loader, loader.cursor() as cursor:
            cursor.execute(text)
        loader.close()
        with _using(NAME):
            tables = connection.introspection.table_names()
            counts = {table: rows(f'SELECT count(*) FROM "{table}"')[0][0] for table in tables}
            call_command("migrate", interactive=False, verbosity=0)
            yield {"fresh": fresh, "counts": counts, "text": text}
        for name in (FRESH, NAME):
            _admin(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(autouse=True)
def undone(upgraded: dict[str, Any]) -> Iterator[None]:
    """What a test changes is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_every_table_of_the_release_has_rows_and_keeps_all_of_them(upgraded):
    held = {table: count for table, count in upgraded["counts"].items() if table.partition("_")[0] in OURS}
    assert len(held) >= 20
    assert not [table for table, count in held.items() if count == 0]
    now = set(connection.introspection.table_names())
    assert {table: rows(f'SELECT count(*) FROM "{table}"')[0][0] for table in held if table in now} == {
        table: count for table, count in held.items() if table in now
    }


def test_the_schema_is_that_of_a_fresh_database(upgraded):
    found = schema()
    for kind, wanted in upgraded["fresh"].items():
        assert found[kind] == wanted, kind


def test_no_constraint_was_left_unchecked(upgraded):
    assert rows("SELECT conname FROM pg_constraint WHERE NOT convalidated") == []


def test_every_row_can_be_read_by_today_s_models(upgraded):
    read = 0
    for app in OURS:
        for model in apps.get_app_config(app).get_models():
            for row in model._default_manager.all():
                assert str(row) is not None
                read += 1
    assert read >= 100


def test_runs_stand_where_they_stood_with_what_they_had(upgraded):
    runs = {run.pk: run for run in Run.objects.select_related("project", "strategy")}
    assert {name: run.state for name, run in runs.items()} == {
        "shop-1": "DONE_SUCCESS", "shop-2": "GATE", "shop-3": "DONE_CANCELLED", "shop-4": "GATE",
        "shop-5": "PHASE_EXECUTION",
    }  # fmt: skip
    for run in runs.values():
        assert run.project.project_id == "shop"
        assert run.strategy.run_id == run.pk
        moves = Transition.objects.filter(run=run, machine="run", version__isnull=False)
        versions = list(moves.order_by("id").values_list("version", flat=True))
        assert versions == list(range(1, run.version + 1))
    assert [phase.state for phase in runs["shop-1"].phases.all()] == ["COMPLETE", "COMPLETE"]
    patch = bytes(Attempt.objects.get(run="shop-1", phase__phase_id="discount").patch)
    assert patch.startswith(b"diff --git a/discount.txt")
    assert Lease.objects.get(run="shop-5", released_at=None).owner == "hand"


def test_issues_tokens_and_settings_of_the_project_are_as_they_were(upgraded):
    entries = RunIndexEntry.objects.filter(run="shop-2").order_by("issue_key")
    assert [(entry.issue_key, entry.effective_severity, entry.occurrence_count) for entry in entries] == [
        ("slow-total", "major", 1), ("test:login", "minor", 2),
    ]  # fmt: skip
    assert BacklogEntry.objects.count() == 2
    assert sorted(ApiToken.objects.values_list("agent__name", "roles")) == [
        ("outside", ["builder"]), ("watcher", ["reader"]),
    ]  # fmt: skip
    project = Project.objects.get()
    assert project.is_default
    assert [step.name for step in project.settings.gate_steps("strict")] == ["unit"]


def test_yesterday_s_rows_are_held_to_the_rules(upgraded):
    lease = Lease.objects.get(run="shop-5", released_at=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        Lease.objects.create(
            run_id="shop-5", phase=lease.phase, attempt=lease.attempt, owner="x", fence=99, ttl_s=1,
            acquired_at=lease.acquired_at, expires_at=lease.expires_at,
        )  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk="shop-1").update(state="NOWHERE")
    with pytest.raises(DatabaseError), transaction.atomic():
        Transition.objects.filter(run="shop-1").update(why="rewritten")


def test_a_run_of_the_release_goes_on_under_this_one(upgraded):
    services.cancel_run("shop-5", by="tests", why="after the upgrade")
    assert Run.objects.get(pk="shop-5").state == "DONE_CANCELLED"


def test_the_snapshot_names_no_place_of_the_machine_that_made_it(upgraded):
    assert not re.search(r"/(tmp|root|home|work)/", upgraded["text"])
