"""What is only ever appended: transitions and the token ledger. And the outbox of intended work."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from runs.models.plan import Phase, Run, Tier
from runs.models.work import Attempt
from runs.querysets import (
    APPLY_EVENTS,
    SPENDING,
    OutboxQuerySet,
    TokenEntryQuerySet,
    TransitionQuerySet,
)
from strategy.limits import dollars


class Transition(models.Model):
    """One event of a run's history: a move of a machine, or an observation (`version` is null then).

    Append-only by trigger. Versions of one subject are contiguous from 1.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="transitions")
    machine = models.CharField(max_length=16)
    subject = models.CharField(max_length=128)
    version = models.PositiveIntegerField(null=True, blank=True)
    from_state = models.CharField(max_length=40)
    to_state = models.CharField(max_length=40)
    event = models.CharField(max_length=64)
    who = models.CharField(max_length=128)
    why = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict, blank=True)
    correlation_id = models.CharField(max_length=128, blank=True, default="")
    at = models.DateTimeField()

    objects = TransitionQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "machine", "subject", "version"],
                condition=Q(version__isnull=False),
                name="one_transition_a_version",
            ),
            # one terminal event a run
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(machine="run", to_state__startswith="DONE_", version__isnull=False),
                name="one_terminal_event_a_run",
            ),
        ]
        indexes = [
            models.Index(fields=["run", "id"], name="transition_of_run"),
            # Prometheus: how long the governed apply took
            models.Index(fields=["at"], condition=Q(event__in=APPLY_EVENTS), name="transition_applied"),
        ]

    def __str__(self) -> str:
        return f"{self.machine} {self.subject}: {self.event}"


class TokenEntry(models.Model):
    """One line of the ledger: tokens, and money in millionths of a dollar. Append-only by trigger.

    Each is null where it is unknown; money too in lines of before it was counted.
    reserve: +n held; release: -n of what was held; settle: +n spent; adjust: a later correction, signed.
    """

    class Kind(models.TextChoices):
        """What the line does to the balance."""

        RESERVE = "reserve"
        RELEASE = "release"
        SETTLE = "settle"
        ADJUST = "adjust"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="token_entries")
    tier = models.ForeignKey(
        Tier, null=True, blank=True, on_delete=models.CASCADE, related_name="token_entries"
    )
    phase = models.ForeignKey(
        Phase, null=True, blank=True, on_delete=models.CASCADE, related_name="token_entries"
    )
    attempt = models.ForeignKey(
        Attempt, null=True, blank=True, on_delete=models.CASCADE, related_name="token_entries"
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    envelope = models.CharField(max_length=16, choices=[("build", "build"), ("audit", "audit")])
    tokens = models.BigIntegerField(null=True, blank=True)
    micro_usd = models.BigIntegerField(null=True, blank=True)
    usage_source = models.CharField(max_length=16, choices=Attempt.UsageSource.choices)
    reason = models.CharField(max_length=128, blank=True, default="")
    at = models.DateTimeField()

    objects = TokenEntryQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="adjust") | Q(tokens=None) | Q(tokens__gte=0),
                name="token_entry_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(kind="adjust") | Q(micro_usd=None) | Q(micro_usd__gte=0),
                name="token_entry_money_not_negative",
            ),
            models.UniqueConstraint(
                fields=["attempt", "kind"],
                condition=Q(kind__in=["reserve", "release"]),
                name="one_reserve_and_release_an_attempt",
            ),
        ]
        indexes = [
            models.Index(fields=["run", "id"], name="token_entry_of_run"),
            # Prometheus: what was spent in a window
            models.Index(fields=["at"], condition=Q(kind__in=SPENDING), name="token_entry_spent"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.kind} {self.tokens}"

    @property
    def dollars(self) -> float | None:
        """Return the money in dollars; None is unknown."""
        return dollars(self.micro_usd)


class Outbox(models.Model):
    """Work that must happen. The row is the truth and is deleted in the transaction that does the work.

    `key` names the work: one open row for (topic, key). `sent_at` is when a message last went out, `due_at`
    when the next one should: the sweep sends again what stays open, since a message may be lost.
    """

    topic = models.CharField(max_length=64)
    key = models.CharField(max_length=200)
    reference = models.JSONField(default=dict)
    due_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    sends = models.PositiveIntegerField(default=0)
    correlation_id = models.CharField(max_length=128, blank=True, default="")
    created_at = models.DateTimeField()

    objects = OutboxQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["topic", "key"], name="one_open_row_a_work")]
        indexes = [models.Index(fields=["due_at"], name="outbox_due")]

    def __str__(self) -> str:
        return f"{self.topic}:{self.key}"
