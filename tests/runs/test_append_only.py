"""The ledger's lines and the history's events are only ever appended: the database refuses the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from runs import services, supervisor
from runs.budgets import Usage
from runs.models import Phase, Run, TokenEntry, Transition
from runs.services import BuildResult
from tests.factories import make_run

pytestmark = pytest.mark.django_db
Model = type[TokenEntry] | type[Transition]
UPSERT = {
    TokenEntry: "INSERT INTO runs_tokenentry SELECT * FROM runs_tokenentry ON CONFLICT (id) DO UPDATE SET tokens = 0",
    Transition: "INSERT INTO runs_transition SELECT * FROM runs_transition ON CONFLICT (id) DO UPDATE SET who = 'x'",
}


@pytest.fixture(autouse=True)
def run() -> Run:
    """A run with lines of each kind and events of each machine."""
    run = make_run()
    supervisor.step(run.pk)
    claim = services.claim_phase(run.pk, agent="a")
    assert claim is not None
    result = BuildResult("failed", b"", Usage(7, "reported", {}))
    services.submit_build(claim.lease_id, fence=claim.fence, result=result)
    services.set_phase_state(run.pk, claim.phase_id, state=Phase.State.FAILED, by="tests", tokens_used=9)
    return run


def sql(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text)


CHANGES: dict[str, Callable[[Model], Any]] = {
    "update of all": lambda model: model.objects.update(run=Run.objects.get()),
    "save of one": lambda model: model.objects.latest("pk").save(),
    "delete of all": lambda model: model.objects.all()._raw_delete("default"),
    "delete of one": lambda model: model.objects.latest("pk").delete(),
    "upsert": lambda model: sql(UPSERT[model]),
    "update that changes nothing": lambda model: sql(f"UPDATE {model._meta.db_table} SET run_id = run_id"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("model", [TokenEntry, Transition])
def test_the_database_refuses_to_change_or_delete_what_is_appended(model: Model, change: str) -> None:
    before = list(model.objects.order_by("pk").values())
    assert len(before) >= 4
    with pytest.raises(IntegrityError, match="immutable"), transaction.atomic():
        CHANGES[change](model)
    assert list(model.objects.order_by("pk").values()) == before


def test_a_run_with_a_history_can_not_be_deleted(run: Run) -> None:
    with pytest.raises(IntegrityError, match="immutable"), transaction.atomic():
        run.delete()
