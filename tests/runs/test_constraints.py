"""What PostgreSQL itself refuses of runs, whatever the code does: by the constraint's name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import IntegrityError, transaction

from autopack_site.kernel import clock
from runs.models import Attempt, Lease, Phase, Run, Tier, TokenEntry
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def copied(row: Phase | Tier) -> None:
    """Write the row once more, as another with the same id in the same run."""
    row.pk = None
    row._state.adding = True
    row.save()


def attempt(phase: Phase, **fields: object) -> Attempt:
    number = phase.attempts.count() + 1
    values = {
        "run_id": phase.run_id,
        "phase": phase,
        "kind": "build",
        "number": number,
        "state": "RUNNING",
        "created_at": clock.now(),
    }
    return Attempt.objects.create(**{**values, **fields})


def lease(of: Attempt, fence: int) -> Lease:
    now = clock.now()
    return Lease.objects.create(
        run_id=of.run_id, phase=of.phase, attempt=of, owner="a", fence=fence, ttl_s=60, acquired_at=now,
        expires_at=now,
    )  # fmt: skip


def two_leases(run: Run) -> None:
    phase = run.phases.all()[0]
    for fence in (1, 2):
        lease(attempt(phase), fence)


def two_merged(run: Run) -> None:
    for _ in range(2):
        attempt(run.phases.all()[0], state="MERGED")


def negative_entry(run: Run) -> None:
    phase = run.phases.all()[0]
    TokenEntry.objects.create(run=run, tier=phase.tier, phase=phase, kind="settle", tokens=-1, at=clock.now())


BROKEN: list[tuple[str, Callable[[Run], object]]] = [
    ("one_phase_id_a_run", lambda run: copied(run.phases.all()[0])),
    ("one_tier_id_a_run", lambda run: copied(run.tiers.all()[0])),
    ("run_state_is_legal", lambda run: Run.objects.filter(pk=run.pk).update(state="NOWHERE")),
    ("tier_state_is_legal", lambda run: run.tiers.update(state="NOWHERE")),
    ("phase_state_is_legal", lambda run: run.phases.update(state="NOWHERE")),
    ("attempt_state_is_legal", lambda run: attempt(run.phases.all()[0], state="NOWHERE")),
    ("run_counters_add_up", lambda run: Run.objects.filter(pk=run.pk).update(tokens_used=-1)),
    ("tier_counters_add_up", lambda run: run.tiers.update(tokens_reserved=-1)),
    ("phase_counters_add_up", lambda run: run.phases.update(tokens_used=-1)),
    ("token_entry_not_negative", negative_entry),
    ("phase_complete_has_commit", lambda run: run.phases.update(state="COMPLETE", commit_sha="")),
    ("run_completed_at_iff_terminal", lambda run: Run.objects.filter(pk=run.pk).update(state="DONE_SUCCESS")),
    ("one_live_lease_per_phase", two_leases),
    ("one_merged_attempt_a_phase", two_merged),
]


@pytest.mark.parametrize(("name", "break_it"), BROKEN, ids=[name for name, _ in BROKEN])
def test_the_database_refuses(name: str, break_it: Callable[[Run], object]) -> None:
    run = make_run()
    with pytest.raises(IntegrityError, match=f'"{name}"'), transaction.atomic():
        break_it(run)
