"""Finding rows for services, with API.md's words when they are not there."""

from __future__ import annotations

from autopack_site.kernel import clock
from runs import rows
from runs.errors import LeaseNotFound, PhaseNotFound, StaleLease
from runs.models import Lease, Phase, Run


def phase_of(run: Run, phase_id: str) -> Phase:
    """Return the run's phase with its tier; raise PhaseNotFound."""
    phase = rows.phase_by_name.first(run.pk, phase_id)
    if phase is None:
        raise PhaseNotFound(f"Phase {phase_id} not found")
    phase.run = run
    return phase


def run_id_of_lease(lease_id: str) -> str:
    """Return the id of the run that a lease belongs to; raise LeaseNotFound."""
    run_id = Lease.objects.filter(pk=lease_id).values_list("run_id", flat=True).first()
    if run_id is None:
        raise LeaseNotFound(f"Lease {lease_id} not found")
    return str(run_id)


def live_lease(lease_id: str, fence: int) -> Lease:
    """Return a lease that still holds by the database's clock; raise StaleLease.

    The caller holds the run's row lock, so the answer stays true until the transaction ends.
    """
    lease = rows.lease_by_id.first(lease_id)
    if lease is None:
        raise LeaseNotFound(f"Lease {lease_id} not found")
    if lease.released_at is not None:
        raise StaleLease(f"The lease was released ({lease.release_reason})", reason=lease.release_reason)
    if lease.fence != fence or lease.phase.fence != fence:
        raise StaleLease("A newer claim of this phase exists", reason="newer-fence")
    if lease.expires_at <= clock.database_now():
        raise StaleLease("The lease ran out", reason="expired")
    lease.attempt.phase = lease.phase
    return lease


def reload(phase: Phase, run: Run) -> None:
    """Read phase, its tier and run again: counters move by SQL, not in memory."""
    rows.reread(phase)  # and its tier
    rows.reread(run)
