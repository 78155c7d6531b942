"""What does not move: open work that was sent often or is long due, and what a sweep should have found by now.

In a sound system the page is empty: sweeps come every few seconds, and GRACE is many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from autopack_site.kernel import clock
from integration import retries
from integration.models import GateRun, GitIntent
from runs import retries as run_retries
from runs.models import Lease, Outbox, Run

GRACE = timedelta(minutes=1)
MANY_SENDS = 5  # with the intervals doubling, about five minutes
GIVEN_UP_FOR = timedelta(days=7)
SHOWN = 50


@dataclass(frozen=True)
class Kind:
    """A kind of stuck work: how it is found, and what a person may do about a row.

    `retry(pk)` calls the service and returns what was done, in words.
    """

    name: str
    title: str
    hint: str
    button: str
    permission: str
    model: type[Any]
    find: Callable[[datetime], QuerySet[Any]]
    retry: Callable[[str], str]


def _work(now: datetime) -> QuerySet[Outbox]:
    return Outbox.objects.filter(Q(due_at__lte=now - GRACE) | Q(sends__gte=MANY_SENDS)).order_by("created_at")


def _leases(now: datetime) -> QuerySet[Lease]:
    rows = Lease.objects.expired(now - GRACE).select_related("phase", "run").order_by("expires_at")
    return rows.only("id", "owner", "fence", "expires_at", "run__run_id", "phase__phase_id", "phase__run_id")


def _runs(now: datetime) -> QuerySet[Run]:
    return Run.objects.overdue(now - GRACE).order_by("deadline_at").only("run_id", "state", "deadline_at")


def _gates(now: datetime) -> QuerySet[GateRun]:
    late = now - GRACE
    rows = GateRun.objects.overdue(late) | GateRun.objects.abandoned(late)
    return rows.order_by("deadline_at").defer("evidence", "reason")


def _moves(now: datetime) -> QuerySet[GitIntent]:
    rows = GitIntent.objects.due(now - GRACE) | GitIntent.objects.given_up(now - GIVEN_UP_FOR)
    return rows.order_by("-state", "due_at")  # open ones first


def _send_again(pk: str) -> str:
    row = run_retries.send_again(int(pk) if pk.isascii() and pk.isdigit() and len(pk) < 18 else 0)
    return f"Sent {row.topic} again"


def _wake_of_lease(pk: str) -> str:
    run_id = Lease.objects.filter(pk=pk).values_list("run_id", flat=True).first()
    return _wake(str(run_id or ""))


def _wake(run_id: str) -> str:
    run_retries.wake_run(run_id)
    return "Woke the run"


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "work", "Open work that was sent often or is long due",
            "Its worker keeps failing, no worker serves its queue, or no sweep sends it.",
            "Send again", "runs.change_outbox", Outbox, _work, _send_again,
        ),
        Kind(
            "lease", "Leases that ran out and were not taken back",
            "A sweep wakes the run, which hands the phase to another worker.",
            "Wake the run", "runs.change_run", Lease, _leases, _wake_of_lease,
        ),
        Kind(
            "run", "Runs past their deadline that have not ended",
            "A sweep wakes the run, which then ends for its budget.",
            "Wake the run", "runs.change_run", Run, _runs, _wake,
        ),
        Kind(
            "gate", "Gate runs past their deadline, or whose worker vanished",
            "A sweep ends the first and hands the others to another worker.",
            "Bring it on", "integration.change_gaterun", GateRun, _gates, retries.retry_gate,
        ),
        Kind(
            "move", "Branch moves that wait, or were given up within a week",
            "Something else has moved the branch, or the project's repository takes no push.",
            "Bring it on", "integration.change_gitintent", GitIntent, _moves, retries.retry_move,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """The rows of a kind; `more` says that there are more than are shown."""

    kind: Kind
    rows: Sequence[Any]
    more: bool
    may_retry: bool


def load(request: HttpRequest) -> list[Section]:
    """Return what is stuck now, by the database's clock. One query a kind."""
    now = clock.database_now()
    sections = []
    for kind in KINDS.values():
        rows = list(kind.find(now)[: SHOWN + 1])
        may_retry = request.user.has_perm(kind.permission)
        sections.append(Section(kind, rows[:SHOWN], len(rows) > SHOWN, may_retry))
    return sections
