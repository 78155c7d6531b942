"""What comes after its lease: usage and issues are taken all the same, the result is not."""

from __future__ import annotations

from collections.abc import Iterable

from runs import budgets, meters, ports
from runs.errors import LeaseNotFound
from runs.lifecycle import AttemptState
from runs.models import Attempt, Lease
from runs.ports import IssueReport
from runs.supervisor import locked_run
from runs.transitions import note


def book_late(lease_id: str, usage: budgets.Usage, issues: Iterable[IssueReport] = ()) -> None:
    """Book the usage and the issues that came for a lease that no longer holds. Raises LeaseNotFound."""
    lease = Lease.objects.filter(pk=lease_id).first()
    if lease is None:
        raise LeaseNotFound(f"Lease {lease_id} not found")
    with locked_run(lease.run_id):
        pass  # a lease that ran out and was not swept yet is lost by the advance at the block's end
    with locked_run(lease.run_id):
        attempt = Attempt.objects.select_related("phase").get(pk=lease.attempt_id)
        is_booked = attempt.state != AttemptState.RUNNING and meters.book_late(attempt, usage)
        found = tuple(issues)
        ports.ledger().record(attempt.phase_id, found, reporter=lease.owner, base=attempt.base_commit)
        if is_booked or found:
            data = {"attempt": attempt.pk, "overrun": attempt.overrun}
            note(attempt.phase, "late_result", who=lease.owner, data=data)
