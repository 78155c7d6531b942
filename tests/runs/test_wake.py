"""The sweep that wakes runs: what it waits for holds up nobody else."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from autopack_site.kernel import clock
from runs import outbox
from runs.models import Outbox, Run
from runs.sweeps import wake_runs
from tests.factories import make_project, make_run
from tests.flows.stack import eventually

pytestmark = pytest.mark.django_db(transaction=True)
LIMIT_S = 30


def intended() -> set[str]:
    return set(Outbox.objects.filter(topic="run.step").values_list("key", flat=True))


def test_what_the_sweep_intended_is_there_while_it_waits_for_a_run_that_somebody_steps() -> None:
    """Held back, it kept others waiting who hold what that step waits for: three in a circle."""
    project = make_project()
    names = [make_run(project).pk for _ in range(3)]
    Run.objects.update(deadline_at=clock.database_now() - timedelta(seconds=1))
    Outbox.objects.all().delete()
    with transaction.atomic():
        outbox.enqueue("run.step", names[1], run_id=names[1])

    def swept() -> None:
        try:
            wake_runs()
        finally:
            connections.close_all()

    other = connection.copy()
    sweep = threading.Thread(target=swept)
    try:
        with other.cursor() as cursor:  # a worker that takes the step, and has not ended yet
            cursor.execute("BEGIN")
            cursor.execute("DELETE FROM runs_outbox WHERE topic = 'run.step' AND key = %s", [names[1]])
            assert cursor.rowcount == 1
            sweep.start()
            eventually(lambda: len(intended()) == 2, timeout_s=LIMIT_S, what="the first run's step")
            assert sweep.is_alive()
            cursor.execute("COMMIT")
        sweep.join(LIMIT_S)
        assert not sweep.is_alive()
    finally:
        other.close()
    assert intended() == set(names)
