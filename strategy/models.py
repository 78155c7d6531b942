"""What rules are about and what they became: Project, Ruleset (immutable), Strategy (frozen, hashed)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from autopack_site.kernel import clock
from strategy.querysets import ProjectQuerySet

if TYPE_CHECKING:
    from strategy.config import ProjectConfig


class Project(models.Model):
    """A repository under Autopack, its operator's configuration, and the ruleset in force.

    `source` is a path or URL; `config` the JSON of `strategy.config.ProjectConfig`, `config_hash` the SHA-256
    of its canonical bytes. `project_id` obeys `kernel.ids`.
    """

    project_id = models.CharField(max_length=128, unique=True)
    name = models.CharField(max_length=200)
    source = models.CharField(max_length=1024)
    default_branch = models.CharField(max_length=255)
    is_default = models.BooleanField(default=False)
    config = models.JSONField()
    config_hash = models.CharField(max_length=64)
    ruleset = models.ForeignKey(
        "strategy.Ruleset", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    updated_at = models.DateTimeField(default=clock.now, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["project_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="strategy_one_default_project"
            ),
            models.CheckConstraint(condition=~Q(project_id=""), name="strategy_project_id_not_empty"),
        ]

    def __str__(self) -> str:
        return self.project_id

    @property
    def settings(self) -> ProjectConfig:
        """Return the configuration as typed values."""
        from strategy.config import ProjectConfig

        return ProjectConfig.from_json(self.config)


class ProjectRevision(models.Model):
    """One state of a project's configuration, with its text as the operator wrote it (comments and all).

    Numbered from 1. Never changed or deleted: the database refuses.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="revisions", db_index=False)
    number = models.PositiveIntegerField()
    config_text = models.TextField(blank=True)
    config = models.JSONField()
    config_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    created_by = models.CharField(max_length=150)
    why = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["project", "-number"]
        constraints = [
            # its index serves the newest revision and a project's history
            models.UniqueConstraint(fields=["project", "number"], name="strategy_revision_number"),
            models.CheckConstraint(condition=Q(number__gte=1), name="strategy_revision_number_positive"),
        ]

    def __str__(self) -> str:
        return f"revision {self.number}"


class Ruleset(models.Model):
    """One version of a project's rules. Never changed or deleted: the database refuses."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="rulesets")
    version = models.PositiveIntegerField()
    document = models.JSONField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    created_by = models.CharField(max_length=150)

    class Meta:
        ordering = ["project", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="strategy_ruleset_version"),
            models.CheckConstraint(condition=Q(version__gte=1), name="strategy_ruleset_version_positive"),
        ]

    def __str__(self) -> str:
        return f"ruleset {self.version}"


class Strategy(models.Model):
    """A run's compiled strategy, frozen. `canonical` is its RFC 8785 text, `sha256` that text's digest.

    The run is known by its id as text only: this app can't see runs. `backlog_seen` is what its rules were told of
    the backlog (`backlog.BacklogSeen`), for replays; null where an earlier release didn't keep it.
    """

    run_id = models.CharField(max_length=128, unique=True)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="strategies")
    ruleset = models.ForeignKey(Ruleset, on_delete=models.PROTECT, related_name="strategies")
    document = models.JSONField()
    canonical = models.TextField()
    sha256 = models.CharField(max_length=64, db_index=True)
    backlog_seen = models.JSONField(null=True, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "strategies"

    def __str__(self) -> str:
        return f"strategy of {self.run_id}"
