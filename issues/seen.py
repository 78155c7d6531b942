"""Issues as a run has seen them: in a phase, in a tier, in the run's index. Part of `issues.models`.

Writers hold the run's row lock.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper

from autopack_site.kernel.visible import visible
from issues.evidence import MAX_KEY_CHARS
from issues.querysets import IssueQuerySet
from issues.severity import MAJOR, MINOR
from runs.models import Phase, Run, Tier

SEVERITIES = [(MINOR, MINOR), (MAJOR, MAJOR)]


def legal_severities(name: str, severity: str = "severity") -> models.CheckConstraint:
    """Return the rule that both severities are known and the effective one is never the lower."""
    return models.CheckConstraint(
        condition=Q(**{f"{severity}__in": [MINOR, MAJOR]})
        & (Q(effective_severity=MAJOR) | Q(effective_severity=MINOR, **{severity: MINOR})),
        name=name,
    )


class Issue(models.Model):
    """One problem as one phase has seen it, however often it was reported.

    `severity` is the highest reported, `effective_severity` what it counts as. `expected_fail` holds while
    every report said so; such an issue is kept and counted nowhere. Lists are bounded and without doubles.
    """

    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, db_index=False, related_name="issues")
    issue_key = models.CharField(max_length=MAX_KEY_CHARS)
    severity = models.CharField(max_length=8, choices=SEVERITIES)
    effective_severity = models.CharField(max_length=8, choices=SEVERITIES)
    source = models.CharField(max_length=64)
    category = models.CharField(max_length=64)
    task_category = models.CharField(max_length=64, blank=True, default="")
    complexity = models.CharField(max_length=32, blank=True, default="")
    expected_fail = models.BooleanField(default=False)
    occurrence_count = models.PositiveIntegerField()
    first_seen_run = models.CharField(max_length=128)
    last_seen_run = models.CharField(max_length=128)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    evidence_refs = models.JSONField(default=list, blank=True)
    reporters = models.JSONField(default=list, blank=True)
    description = models.TextField(blank=True, default="")

    objects = IssueQuerySet.as_manager()

    class Meta:
        ordering = ["phase", "issue_key"]
        constraints = [
            # its index serves record (a phase's rows by key) and the phase file (a phase's rows in key order)
            models.UniqueConstraint(fields=["phase", "issue_key"], name="one_issue_a_key_and_phase"),
            legal_severities("issue_severities_are_legal"),
            models.CheckConstraint(condition=Q(occurrence_count__gte=1), name="issue_was_seen"),
        ]
        indexes = [
            # the admin's list, newest first, by its filters, and its search: the beginning of a key
            # in any case (an index of the key as it is would tempt the planner away from those of record)
            models.Index(fields=["-id"], condition=Q(effective_severity=MAJOR), name="issue_list_major"),
            models.Index(fields=["-id"], condition=Q(expected_fail=True), name="issue_list_expected"),
            models.Index(OpClass(Upper("issue_key"), "text_pattern_ops"), name="issue_key_prefix"),
        ]

    def __str__(self) -> str:
        return visible(self.issue_key)


class TierIssue(models.Model):
    """That a key was seen in a tier, and what it counts as there: a tier's counts are of distinct keys."""

    tier = models.ForeignKey(Tier, on_delete=models.CASCADE, db_index=False, related_name="issue_keys")
    issue_key = models.CharField(max_length=MAX_KEY_CHARS)
    effective_severity = models.CharField(max_length=8, choices=SEVERITIES)

    class Meta:
        ordering = ["tier", "issue_key"]
        constraints = [
            # its index serves record
            models.UniqueConstraint(fields=["tier", "issue_key"], name="one_issue_a_key_and_tier"),
            models.CheckConstraint(
                condition=Q(effective_severity__in=[MINOR, MAJOR]), name="tier_issue_severity_is_legal"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tier_id}:{self.issue_key}"


class RunIndexEntry(models.Model):
    """One key in one run, over all its phases. First and last phase index are the lowest and highest."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, db_index=False, related_name="issue_index")
    issue_key = models.CharField(max_length=MAX_KEY_CHARS)
    severity = models.CharField(max_length=8, choices=SEVERITIES)
    effective_severity = models.CharField(max_length=8, choices=SEVERITIES)
    category = models.CharField(max_length=64)
    expected_fail = models.BooleanField(default=False)
    first_phase_index = models.IntegerField()
    last_phase_index = models.IntegerField()
    occurrence_count = models.PositiveIntegerField()
    seen_in_tiers = models.JSONField(default=list)
    seen_in_phases = models.JSONField(default=list)

    class Meta:
        ordering = ["run", "issue_key"]
        verbose_name_plural = "run index entries"
        constraints = [
            # its index serves record, the index route (a run's rows in key order) and the end of a run
            models.UniqueConstraint(fields=["run", "issue_key"], name="one_issue_a_key_and_run"),
            legal_severities("run_index_severities_are_legal"),
            models.CheckConstraint(
                condition=Q(first_phase_index__lte=F("last_phase_index")),
                name="run_index_phases_in_order",
            ),
        ]

    def __str__(self) -> str:
        return visible(self.issue_key)
