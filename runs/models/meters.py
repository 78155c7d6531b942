"""What is known of an attempt's spending while it works."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from runs.models.work import Attempt


class Meter(models.Model):
    """The figures that an agent has reported so far for one attempt. They only grow.

    A row of its own, as heartbeats write it without the run's lock, under the row lock of the lease. `limit` names
    the cap that is nearly or wholly spent; after `stop_by` the lease ends. `cost_micro_usd` is what counts
    (`runs.costs`).
    """

    class State(models.TextChoices):
        """How far the attempt's caps are used."""

        OK = "ok"
        NEARLY_SPENT = "nearly_spent"
        SPENT = "spent"

    attempt = models.OneToOneField(Attempt, primary_key=True, on_delete=models.CASCADE, related_name="meter")
    tokens = models.BigIntegerField(null=True, blank=True)
    cost_micro_usd = models.BigIntegerField(null=True, blank=True)
    turns = models.BigIntegerField(null=True, blank=True)
    figures = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OK)
    limit = models.CharField(max_length=64, blank=True, default="")
    stop_by = models.DateTimeField(null=True, blank=True)
    reports = models.PositiveIntegerField(default=0)
    lower_reports = models.PositiveIntegerField(default=0)
    reported_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["ok", "nearly_spent", "spent"]), name="meter_state_is_legal"
            ),
            models.CheckConstraint(
                condition=(Q(tokens=None) | Q(tokens__gte=0))
                & (Q(cost_micro_usd=None) | Q(cost_micro_usd__gte=0))
                & (Q(turns=None) | Q(turns__gte=0)),
                name="meter_not_negative",
            ),
            # a spent attempt has an end, and a cap that it met
            models.CheckConstraint(
                condition=~Q(state="spent") | (Q(stop_by__isnull=False) & ~Q(limit="")),
                name="meter_spent_names_its_cap",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.attempt_id}: {self.tokens} {self.state}"
