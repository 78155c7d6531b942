"""What beat does for backlogs: opens what was accepted until now, ages what a start did not, and applies
thresholds that have changed since.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import connection, transaction
from django.db.models import Exists, Min, OuterRef

from autopack_site.kernel import clock
from issues.aging import project_thresholds
from issues.backlog import MAX_LAPSED, age, lapse, lock_backlog
from issues.marking import mark_batch
from issues.models import BacklogAging, BacklogEntry, BacklogTally
from runs import outbox
from runs.models import Run, Tier
from strategy.models import Project

log = structlog.get_logger(__name__)
SWEEP_LOCKS = 7_301_003  # the class of advisory locks; the second key is the project
_KEY_SPACE = 2**31
WHY = "the sweep applies the ruleset's thresholds"
# Entries that are marked in one transaction: some 60 ms that reporters wait. Between two of them all who wait have
# their turn, so that small batches make a sweep beside many reporters twice as long as its work.
BATCH = 800
MAX_BEGUN = 200  # runs, and tiers, that one sweep ages a project for; the next sweep goes on


def sweep_backlogs() -> int:
    """Open what is accepted no longer, age and mark open entries; return how many projects changed.

    Short transactions: reporters wait for none longer than a batch takes. Two sweeps at once do the work once.
    """
    changed = 0
    live = BacklogEntry.without_ages.live().filter(project=OuterRef("pk"))
    lapsed = BacklogEntry.without_ages.lapsed(clock.now()).filter(project=OuterRef("pk"))
    for project in Project.objects.filter(Exists(live) | Exists(lapsed)).select_related("ruleset"):
        if _sweep(project):
            changed += 1
            renew_files(project)
    return changed


def _sweep(project: Project) -> bool:
    opened = begun = 0
    while True:
        with _alone(project) as tally:
            if tally is None:
                return bool(opened)
            lapsed = lapse(project.pk)
            opened += lapsed
            if lapsed < MAX_LAPSED:  # all are open that what began can age
                begun = _age_for_what_began(tally)
                break
    thresholds = project_thresholds(project.ruleset.document if project.ruleset else {})
    marked = sum(_mark(project, counter, limit) for counter, limit in thresholds.by_counter())
    return bool(opened or begun or marked)


@contextmanager
def _alone(project: Project) -> Iterator[BacklogTally | None]:
    """Hold the project's backlog for one short transaction; None when another beat's sweep is at it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [SWEEP_LOCKS, project.pk % _KEY_SPACE])
            free = cursor.fetchone()[0]
        yield lock_backlog(project.pk) if free else None


def _mark(project: Project, counter: str, threshold: int) -> int:
    """Mark all that has reached a threshold; reporters get their turn between the batches."""
    marked, place = 0, None
    while True:
        with _alone(project) as tally:
            if tally is None:
                return marked
            batch = mark_batch(tally, counter, threshold, why=WHY, size=BATCH, place=place)
        marked, place = marked + batch.marked, batch.place
        if batch.marked < BATCH:
            return marked


def _age_for_what_began(tally: BacklogTally) -> int:
    """Age for runs and tiers that began after an entry was opened and have no aging row; return how many.

    `begin_run` and `begin_tier` write it in the start's own transaction, so there are such runs only when
    rows came from elsewhere: restored, imported, or written by hand.
    """
    project = tally.project_id
    live = BacklogEntry.without_ages.live().filter(project=project)
    oldest = live.aggregate(at=Min("opened_at"))["at"]
    if oldest is None:
        return 0
    aged = BacklogAging.objects.filter(project=project)
    no_run_row = ~Exists(aged.filter(run_id=OuterRef("pk"), tier_id=""))
    no_tier_row = ~Exists(aged.filter(run_id=OuterRef("run_id"), tier_id=OuterRef("tier_id")))
    runs = Run.objects.filter(no_run_row, project=project, created_at__gt=oldest).order_by("created_at")
    tiers = Tier.objects.filter(no_tier_row, run__project=project, started_at__gt=oldest)
    begun = 0
    for run_id, moment in runs.values_list("run_id", "created_at")[:MAX_BEGUN]:
        begun += age(tally, run_id, "", moment)
    rows = tiers.order_by("started_at").values_list("run_id", "tier_id", "started_at")
    for run_id, tier_id, started_at in rows[:MAX_BEGUN]:
        begun += age(tally, run_id, tier_id, started_at)
    if begun:
        log.warning("backlog.aged_late", project=project, begun=begun)
    return begun


def renew_files(project: Project) -> None:
    """Intend the backlog's file anew, by way of the project's newest run.

    In a transaction of its own: a supervisor may hold the same outbox row while it waits for the backlog.
    """
    newest = Run.objects.filter(project=project).order_by("-created_at").values_list("run_id", flat=True)
    if run_id := newest.first():
        with transaction.atomic():
            outbox.enqueue("artefacts.write", run_id, run_id=run_id)
