"""What issues are known by, and who has reported them. Part of `issues.models`.

Writers hold the backlog's lock (`issues.backlog.lock_backlog`).
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from autopack_site.kernel.visible import visible
from issues.evidence import MAX_KEY_CHARS
from issues.identity import MAX_SITE_CHARS
from strategy.models import Project

MAX_FORMER = 50


class IssueName(models.Model):
    """One name of an issue: a reporter's key, or a place (where and why, `issues.identity`).

    `issue_key` is the key that the issue goes by; the name of kind `key` that equals it is its own, holds the keys
    that it went by before (`former`), and with `is_fixed` is kept whatever other names come. A name that a person
    split off (`is_pinned`) joins no two issues any more.
    """

    KEY, PLACE = "key", "place"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, db_index=False, related_name="issue_names")
    kind = models.CharField(max_length=8, choices=[(KEY, KEY), (PLACE, PLACE)])
    name = models.CharField(max_length=MAX_KEY_CHARS)
    issue_key = models.CharField(max_length=MAX_KEY_CHARS)
    cause = models.CharField(max_length=64, blank=True, default="")
    site = models.CharField(max_length=MAX_SITE_CHARS, blank=True, default="")
    former = models.JSONField(default=list, blank=True)
    is_fixed = models.BooleanField(default=False)
    is_pinned = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            # its index serves record: the names that reports bring
            models.UniqueConstraint(fields=["project", "name", "kind"], name="one_issue_a_name"),
            models.CheckConstraint(condition=Q(kind__in=["key", "place"]), name="issue_name_kind_is_legal"),
            models.CheckConstraint(
                condition=Q(is_fixed=False) | Q(kind="key", issue_key=F("name")),
                name="issue_name_fixed_is_own",
            ),
        ]
        indexes = [
            # an issue's names: its page, a joint, a merge
            models.Index(fields=["project", "issue_key"], name="issue_name_of_issue"),
            # a group: the places of one cause
            models.Index(fields=["project", "cause"], condition=~Q(cause=""), name="issue_name_of_cause"),
        ]

    def __str__(self) -> str:
        return visible(self.site or self.name)


class Vote(models.Model):
    """That somebody has reported an issue: each reporter counts once."""

    entry = models.ForeignKey(
        "issues.BacklogEntry", on_delete=models.CASCADE, db_index=False, related_name="votes"
    )
    reporter = models.CharField(max_length=128)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            # its index serves record, and the count of an entry's votes
            models.UniqueConstraint(fields=["entry", "reporter"], name="one_vote_a_reporter"),
        ]
        indexes = [
            # the filter by reporter
            models.Index(fields=["reporter", "entry"], name="vote_by_reporter"),
        ]

    def __str__(self) -> str:
        return f"{self.entry_id}: {visible(self.reporter)}"
