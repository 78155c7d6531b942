"""Runs that saw issues under keys that these have lost since: their rows, counts and caps are brought into line.

A report or a person makes issues one while it holds the backlog, and may not wait for the rows of other runs then:
their holders wait for the backlog. So it leaves a message, and each run is brought into line in a transaction of its
own, which takes the locks in their order. What holds then is what reports in any other order would have made.

Runs that have ended keep the counts that they were judged by, until a late report of theirs names the issue again.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from issues.backlog import SYSTEM, lock_backlog
from issues.joining import join_in_run
from issues.known import IssueName
from issues.models import RunIndexEntry
from runs import outbox
from runs.lifecycle import ACTIVE_RUN_STATES
from runs.models import Run
from runs.transitions import write_files

log = structlog.get_logger(__name__)
TOPIC = "issues.align"


def align_later(project_pk: int, lost: Iterable[str], *, but: str = "") -> None:
    """Record that live runs hold rows of keys that were just lost, if one does other than the run `but`.

    One query, and one write where there is work. Needs the backlog's lock: it orders the writers of the message.
    """
    if _held_by_live_runs(project_pk).filter(issue_key__in=sorted(lost)).exclude(run=but).exists():
        outbox.enqueue(TOPIC, str(project_pk), project_id=project_pk)


def align_runs(project_pk: int) -> int:
    """Bring a project's live runs into line with what its issues are called now; return how many were not.

    One short transaction a run. Safe to repeat and to race.
    """
    found = list(_out_of_line(project_pk).order_by("run_id").values_list("run_id", flat=True).distinct())
    for run_id in found:
        _align(run_id)
    with transaction.atomic():
        lock_backlog(project_pk)
        if not _out_of_line(project_pk).exists():  # else somebody has left a message of his own
            outbox.settle(TOPIC, str(project_pk))
    return len(found)


@transaction.atomic
def _align(run_id: str) -> None:
    run = Run.objects.active().select_for_update(no_key=True).filter(pk=run_id).first()
    if run is None:
        return  # it has ended meanwhile
    lock_backlog(run.project_id)
    held = RunIndexEntry.objects.filter(run=run).values("issue_key")
    lost = _lost(run.project_id).filter(name__in=held)
    renamed = dict(lost.values_list("name", "issue_key"))
    if renamed:
        join_in_run(run, renamed, who=SYSTEM)
        write_files(run_id)
        log.info("issues.aligned", run_id=run_id, keys=len(renamed))


def _held_by_live_runs(project_pk: int) -> QuerySet[RunIndexEntry]:
    return RunIndexEntry.objects.filter(run__project=project_pk, run__state__in=ACTIVE_RUN_STATES)


def _out_of_line(project_pk: int) -> QuerySet[RunIndexEntry]:
    return _held_by_live_runs(project_pk).filter(Exists(_lost(project_pk).filter(name=OuterRef("issue_key"))))


def _lost(project_pk: int) -> QuerySet[IssueName]:
    """Return the keys that no issue goes by any more, each with the one that its issue goes by."""
    return IssueName.objects.filter(project=project_pk, kind=IssueName.KEY).exclude(issue_key=F("name"))
