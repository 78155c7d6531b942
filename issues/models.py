"""Issues at their three levels: a phase and run (`issues.seen`), and the project's backlog (SPEC section 5).

The levels are kept apart because each is counted and aged by itself; `issue_key` joins them. Writers of a
run's rows hold the run's row lock, writers of a backlog hold the backlog's lock (`issues.backlog`). A foreign
key that leads a unique constraint has no index of its own.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Case, F, OuterRef, Q, Subquery, When
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce
from django.utils.functional import cached_property

from autopack_site.kernel.visible import visible
from issues.aging import AGEABLE_STATUSES, COUNTERS, LIVE_STATUSES, Thresholds
from issues.aging import Status as BacklogStatus
from issues.evidence import MAX_KEY_CHARS
from issues.known import IssueName, Vote
from issues.querysets import BacklogEntryQuerySet
from issues.seen import SEVERITIES, Issue, RunIndexEntry, TierIssue, legal_severities
from issues.severity import MAJOR
from issues.words import ENTRY_WORDS
from strategy.models import Project

__all__ = [
    "BacklogAging", "BacklogEntry", "BacklogEvent", "BacklogTally", "Issue", "IssueName", "RunIndexEntry",
    "TierIssue", "Vote",
]  # fmt: skip


class BacklogTally(models.Model):
    """How many runs and tiers have aged a project's backlog. Its row's lock is the backlog's lock.

    Ages are differences of it, so where it begins doesn't matter.
    """

    project = models.OneToOneField(
        Project, on_delete=models.CASCADE, primary_key=True, related_name="backlog_tally"
    )
    runs = models.PositiveIntegerField(default=0)
    tiers = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "backlog tallies"

    def __str__(self) -> str:
        return f"{self.project_id}: {self.runs} runs, {self.tiers} tiers"


_LIVE = Q(status__in=[str(s) for s in LIVE_STATUSES])
_AGEABLE = Q(status__in=[str(s) for s in AGEABLE_STATUSES])


def reading(counter: str) -> Coalesce:
    """Return the expression that reads a backlog entry's tally: its `runs` or its `tiers`; 0 for none yet."""
    own = BacklogTally.objects.filter(project=OuterRef("project"))
    return Coalesce(Subquery(own.values(counter)), 0, output_field=models.IntegerField())


def ages_kept(status: str) -> dict[str, CombinedExpression | Case]:
    """Return what an update that sets the status sets besides, so that ages stay what they are."""
    if status in LIVE_STATUSES:
        return {
            f"{counter}_offset": Case(
                When(_LIVE, then=F(f"{counter}_offset")), default=F(f"{counter}_offset") - reading(counter)
            )
            for counter in COUNTERS
        }
    return {f"{counter}_offset": _age(counter) for counter in COUNTERS}


def _age(counter: str) -> CombinedExpression:
    return F(f"{counter}_offset") + Case(When(_LIVE, then=reading(counter)), default=0)


def with_ages(rows: BacklogEntryQuerySet) -> BacklogEntryQuerySet:
    """Annotate entries with their ages."""
    return rows.annotate(age_in_runs=_age("runs"), age_in_tiers=_age("tiers"))  # type: ignore[no-redef]  # its cached properties take them


class EntriesManager(models.Manager.from_queryset(BacklogEntryQuerySet)):  # type: ignore[misc]
    """Entries that stand for themselves: not those that were merged into another."""

    def get_queryset(self) -> BacklogEntryQuerySet:
        """Leave out what was merged."""
        rows: BacklogEntryQuerySet = super().get_queryset()
        return rows.filter(merged_into=None)


class BacklogEntryManager(EntriesManager):
    """Entries with their ages, to be read, filtered and ordered by as if they were columns."""

    def get_queryset(self) -> BacklogEntryQuerySet:
        """Annotate the ages; what doesn't use them (a count, an update) doesn't pay for them."""
        return with_ages(super().get_queryset())


class BacklogEntry(models.Model):
    """One key in a project's memory, over all its runs.

    Ages count distinct runs and tiers begun while the entry was open. Of a live entry the age is its offset plus
    the backlog's tally, so that a run or tier ages all of them by one write (`BacklogTally`); of any other it is
    the offset itself. `objects` annotates both ages. `accepted_until` is set exactly while the entry is accepted.
    `paths` are files that evidence names, `scopes` the scopes (lists of globs) of phases that saw it. Runs are
    known by id as text: the memory outlives them.
    """

    Status = BacklogStatus

    project = models.ForeignKey(Project, on_delete=models.PROTECT, db_index=False, related_name="backlog")
    issue_key = models.CharField(max_length=MAX_KEY_CHARS)
    category = models.CharField(max_length=64)
    base_severity = models.CharField(max_length=8, choices=SEVERITIES)
    effective_severity = models.CharField(max_length=8, choices=SEVERITIES)
    status = models.CharField(max_length=16, choices=[(str(s), str(s)) for s in BacklogStatus])
    runs_offset = models.IntegerField(default=0)
    tiers_offset = models.IntegerField(default=0)
    occurrence_count = models.PositiveBigIntegerField()
    first_seen_run_id = models.CharField(max_length=128)
    last_seen_run_id = models.CharField(max_length=128)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    # when it was last opened or reopened: runs and tiers begun before that don't age it
    opened_at = models.DateTimeField()
    accepted_until = models.DateTimeField(null=True, blank=True)
    # the commit that resolved it, where one is known: only a branch that has it can see the issue again
    fixed_by = models.CharField(max_length=64, blank=True, default="")
    # the entry that this one turned out to be: hidden behind it, kept for its history
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, db_index=False, related_name="merged"
    )
    seen_in_runs = models.JSONField(default=list)
    seen_in_tiers = models.JSONField(default=list)
    paths = models.JSONField(default=list, blank=True)
    scopes = models.JSONField(default=list, blank=True)

    objects = BacklogEntryManager()
    without_ages = EntriesManager()  # for writers: they hold the tally
    with_merged = BacklogEntryQuerySet.as_manager()

    class Meta:
        base_manager_name = "with_merged"
        ordering = ["project", "issue_key"]
        verbose_name_plural = "backlog entries"
        constraints = [
            # its index serves record and the backlog route (a project's rows in key order)
            models.UniqueConstraint(fields=["project", "issue_key"], name="one_issue_a_key_and_project"),
            models.CheckConstraint(
                condition=Q(status__in=[str(s) for s in BacklogStatus]), name="backlog_status_is_legal"
            ),
            legal_severities("backlog_severities_are_legal", "base_severity"),
            models.CheckConstraint(
                condition=~Q(status=str(BacklogStatus.NEEDS_CLEANUP)) | Q(effective_severity=MAJOR),
                name="backlog_aged_counts_as_major",
            ),
            models.CheckConstraint(
                condition=Q(status=str(BacklogStatus.ACCEPTED)) ^ Q(accepted_until=None),
                name="backlog_accepted_until_a_date",
            ),
            models.CheckConstraint(
                condition=Q(merged_into=None) | Q(status=str(BacklogStatus.RESOLVED)),
                name="backlog_merged_is_resolved",
            ),
            models.CheckConstraint(
                condition=_LIVE | Q(runs_offset__gte=0, tiers_offset__gte=0), name="backlog_ages_are_kept"
            ),
        ]
        indexes = [
            # the end of a run: what is open, in key order
            models.Index(fields=["project", "issue_key"], condition=_LIVE, name="backlog_live"),
            # the strategy's backlog, the summary and the page of ages: the oldest entries of a project
            models.Index(
                fields=["project", "-runs_offset", "-tiers_offset", "issue_key"],
                condition=_LIVE,
                name="backlog_oldest",
            ),
            # a late aging: entries opened since a run or tier began; the sweep: the first that was opened
            models.Index(fields=["project", "opened_at"], condition=_LIVE, name="backlog_opened"),
            # marking: what has reached a threshold and is not marked, a batch after the other
            models.Index(
                fields=["project", "runs_offset", "id"], condition=_AGEABLE, name="backlog_due_runs"
            ),
            models.Index(
                fields=["project", "tiers_offset", "id"], condition=_AGEABLE, name="backlog_due_tiers"
            ),
            # the start of a run and the sweep: acceptances that have ended
            models.Index(
                fields=["project", "accepted_until"],
                condition=Q(status=str(BacklogStatus.ACCEPTED)),
                name="backlog_accepted",
            ),
            # the admin's list, newest first, by its filters; none holds a column that aging or a report moves
            models.Index(fields=["project", "-id"], name="backlog_list_project"),
            models.Index(fields=["status", "-id"], name="backlog_list_status"),
            models.Index(fields=["category", "-id"], name="backlog_list_category"),
            models.Index(fields=["-id"], condition=Q(effective_severity=MAJOR), name="backlog_list_major"),
            # the list of one project by its filters, and its facets; the first also the reports and Prometheus
            models.Index(fields=["project", "status", "-id"], name="backlog_project_status"),
            models.Index(fields=["project", "effective_severity", "-id"], name="backlog_project_severity"),
            models.Index(fields=["project", "category", "-id"], name="backlog_project_category"),
            # what was merged into an entry, for its page
            models.Index(fields=["merged_into"], condition=~Q(merged_into=None), name="backlog_merged"),
            # text search, and the filter by path: of nothing that aging or a repeated report changes
            GinIndex(ENTRY_WORDS, name="backlog_words"),
        ]

    def __str__(self) -> str:
        return visible(self.issue_key)

    @cached_property
    def age_in_runs(self) -> int:
        """Distinct runs begun while it was open. Set by `objects` and by `tell_ages`; otherwise one query."""
        return self.runs_offset + self._read_tally().runs

    @cached_property
    def age_in_tiers(self) -> int:
        """Distinct tiers begun while it was open. Set by `objects` and by `tell_ages`; otherwise one query."""
        return self.tiers_offset + self._read_tally().tiers

    def _read_tally(self) -> BacklogTally:
        nothing = BacklogTally(project_id=self.project_id)
        if self.status not in LIVE_STATUSES:
            return nothing
        return BacklogTally.objects.filter(pk=self.project_id).first() or nothing

    def tell_ages(self, tally: BacklogTally) -> None:
        """Set both ages by a tally that is at hand."""
        live = self.status in LIVE_STATUSES
        self.age_in_runs = self.runs_offset + (tally.runs if live else 0)
        self.age_in_tiers = self.tiers_offset + (tally.tiers if live else 0)

    def become(self, status: str, tally: BacklogTally) -> None:
        """Take a status and keep the ages: they stand still while the entry is not live. Needs the lock.

        A new entry starts live, with its ages at 0, by `become` too: it has no status before.
        """
        step = (self.status in LIVE_STATUSES) - (status in LIVE_STATUSES)
        self.runs_offset += step * tally.runs
        self.tiers_offset += step * tally.tiers
        self.status = status
        self.tell_ages(tally)

    def is_aged(self, thresholds: Thresholds) -> bool:
        """Tell whether a report of it counts as major for its age; one that is accepted doesn't."""
        return self.status != BacklogStatus.ACCEPTED and thresholds.reached(
            self.age_in_runs, self.age_in_tiers
        )


class BacklogEvent(models.Model):
    """One change of an entry's status: who, why, when, in which run and phase. Append-only by trigger.

    `until` is an acceptance's end.
    """

    entry = models.ForeignKey(BacklogEntry, on_delete=models.PROTECT, related_name="events")
    event = models.CharField(max_length=16)
    from_status = models.CharField(max_length=16, blank=True, default="")
    to_status = models.CharField(max_length=16)
    who = models.CharField(max_length=128)
    why = models.TextField(blank=True, default="")
    run_id = models.CharField(max_length=128, blank=True, default="")
    # the database fills it in too: for the statement that marks, and for workers from before it was there
    phase_id = models.CharField(max_length=128, blank=True, default="", db_default="")
    correlation_id = models.CharField(max_length=128, blank=True, default="")
    until = models.DateTimeField(null=True, blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        # the foreign key's own index serves the admin: an entry's history
        indexes = [
            # a report that would make two entries one: how many its phase has made one already
            models.Index(
                fields=["run_id", "phase_id"], condition=Q(event="absorbed"), name="backlog_event_joint"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.entry_id}: {self.event}"


class BacklogAging(models.Model):
    """That a project's open entries were aged for a run (`tier_id` empty) or for one of its tiers.

    One row for all entries, not one each: which entries were open then follows from the lock under which
    the row is written, and the table grows with runs, not with runs times issues. The tally counts the same
    for reading. `at` is when the run or tier began. Append-only by trigger.
    """

    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, db_index=False, related_name="backlog_agings"
    )
    run_id = models.CharField(max_length=128)
    tier_id = models.CharField(max_length=128, blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            # its index serves begin_run, begin_tier and the sweep
            models.UniqueConstraint(fields=["project", "run_id", "tier_id"], name="one_aging_a_run_and_tier"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.tier_id}" if self.tier_id else self.run_id
