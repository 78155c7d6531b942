"""Gate runs and git intents: verdicts with an owner and a deadline, and moves that survive a crash."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from autopack_site.kernel.ids import new_id
from integration.querysets import GateRunQuerySet, GitIntentQuerySet
from runs.models import Attempt, Phase, Run


class GateRun(models.Model):
    """The gate of one candidate, bound to (patch hash, base, strategy, profile).

    `state` WAITING -> RUNNING -> DONE | CANCELLED. A running one is leased: `fence` grows at each claim, and
    writes of an old fence change no row. `evidence` grows try by try: {sandbox, tries: [...]}.
    """

    class State(models.TextChoices):
        """Where the gate run stands."""

        WAITING = "WAITING"
        RUNNING = "RUNNING"
        DONE = "DONE"
        CANCELLED = "CANCELLED"

    class Verdict(models.TextChoices):
        """What came of it. Flaky and waived let a candidate pass; both are shown as what they are."""

        NONE = ""
        GREEN = "green"
        FLAKY = "flaky"
        WAIVED = "waived"
        RED = "red"
        INFRA_FAILED = "infra_failed"

    PASSING = (Verdict.GREEN, Verdict.FLAKY, Verdict.WAIVED)

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="gate_runs")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="gate_runs")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="gate_runs")
    number = models.PositiveIntegerField()
    profile = models.CharField(max_length=16)
    candidate_sha = models.CharField(max_length=64)
    patch_hash = models.CharField(max_length=64)
    base_commit = models.CharField(max_length=64)
    strategy_sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    verdict = models.CharField(max_length=16, choices=Verdict.choices, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    evidence = models.JSONField(default=dict)
    log_path = models.CharField(max_length=512, blank=True, default="")
    owner = models.CharField(max_length=128, blank=True, default="")
    fence = models.PositiveBigIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = GateRunQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["attempt", "number"], name="one_gate_run_a_number"),
            models.UniqueConstraint(
                fields=["phase"],
                condition=Q(state__in=["WAITING", "RUNNING"]),
                name="one_open_gate_run_a_phase",
            ),
            models.CheckConstraint(condition=Q(state="DONE") ^ Q(verdict=""), name="gate_verdict_iff_done"),
        ]
        indexes = [
            # the sweep: leases that ran out and deadlines that passed
            models.Index(
                fields=["deadline_at"],
                condition=Q(state__in=["WAITING", "RUNNING"]),
                name="gate_run_open_deadline",
            ),
            models.Index(fields=["run", "created_at"], name="gate_run_of_run"),
            # Prometheus: gates that ended in a window
            models.Index(fields=["ended_at"], condition=Q(state="DONE"), name="gate_run_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.attempt_id}:{self.number}"


class GitIntent(models.Model):
    """A recorded move of a run's branch from `old_sha` to `new_sha` (ENGINE, "Git and the database").

    Written before git is asked. One open intent a run: moves of one branch are serial.
    """

    class State(models.TextChoices):
        """Where the move stands."""

        PLANNED = "PLANNED"
        DONE = "DONE"
        CONFLICT = "CONFLICT"

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="git_intents")
    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, related_name="git_intent")
    ref = models.CharField(max_length=300)
    tag_ref = models.CharField(max_length=500)
    old_sha = models.CharField(max_length=64)
    new_sha = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PLANNED)
    reason = models.TextField(blank=True, default="")
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = GitIntentQuerySet.as_manager()

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["run"], condition=Q(state="PLANNED"), name="one_open_intent_a_run"
            ),
            # one commit a parent: the branch never forks
            models.UniqueConstraint(
                fields=["run", "old_sha"], condition=~Q(state="CONFLICT"), name="one_move_from_a_head"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="PLANNED"), name="git_intent_due"),
            # the page of stuck work: moves that were given up lately
            models.Index(fields=["ended_at"], condition=Q(state="CONFLICT"), name="git_intent_given_up"),
        ]

    def __str__(self) -> str:
        return f"{self.ref}: {self.old_sha[:12]} -> {self.new_sha[:12]}"


class MetricSeal(models.Model):
    """Up to when `MetricTotal` holds what has happened. One row."""

    until = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="one_metric_seal")]

    def __str__(self) -> str:
        return f"sealed until {self.until}"


class MetricTotal(models.Model):
    """What one series of a counter, or one bucket of a histogram, came to up to the seal (integration.metrics).

    `le` is the bucket's upper bound, 0 for a counter. Rows only grow; their ids are the order of first sight.
    """

    metric = models.CharField(max_length=64)
    labels = models.JSONField()
    le = models.FloatField()
    count = models.BigIntegerField()
    total = models.FloatField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["metric", "labels", "le"], name="one_total_a_series_and_bucket")
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.labels}"
