"""What the beat finds: leases that ran out, deadlines that passed, runs that nothing would wake."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from autopack_site.kernel import clock
from runs import outbox
from runs.models import Lease, Phase, Run


def wake_runs(limit: int = 500) -> int:
    """Intend a step for every active run that time has changed; return how many.

    In a transaction each: to intend a step waits for whoever takes the run's step right now, who may wait for a
    backlog, and whoever holds that may want to intend the step of a run that was intended here before.
    """
    now = clock.database_now()
    leases = Lease.objects.expired(now).filter(run=OuterRef("pk"))
    claims = Phase.objects.unclaimed_since(now).filter(run=OuterRef("pk"))
    runs = Run.objects.active().filter(Q(deadline_at__lte=now) | Exists(leases) | Exists(claims))
    names = list(runs.values_list("run_id", flat=True)[:limit])
    for run_id in names:
        with transaction.atomic():
            outbox.enqueue("run.step", run_id, run_id=run_id)
    return len(names)
