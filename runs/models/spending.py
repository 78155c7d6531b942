"""What a run, a tier or a phase has spent and holds, beside its tokens as a whole: by envelope, and in money."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from strategy.limits import MICRO, dollars


class Counters(models.Model):
    """Counters that move with the ledger's lines. What builders use is the whole less what auditors use.

    Money is in millionths of a dollar. `cost_micro_usd` sums what is known to have been spent: it says nothing of
    attempts whose cost is unknown.
    """

    audit_tokens_used = models.BigIntegerField(default=0, db_default=0)
    audit_tokens_reserved = models.BigIntegerField(default=0, db_default=0)
    cost_micro_usd = models.BigIntegerField(default=0, db_default=0)
    cost_reserved_micro_usd = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        abstract = True

    @property
    def cost_usd(self) -> float:
        """What is known to have been spent, in dollars."""
        return self.cost_micro_usd / MICRO


class Caps(models.Model):
    """Caps of a run or a tier beside `token_cap`; null is none."""

    build_token_cap = models.BigIntegerField(null=True, blank=True)
    audit_token_cap = models.BigIntegerField(null=True, blank=True)
    cost_cap_micro_usd = models.BigIntegerField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def cost_cap_usd(self) -> float | None:
        """What may be spent, in dollars; None: no cap."""
        return dollars(self.cost_cap_micro_usd)


def counters_add_up(name: str) -> models.CheckConstraint:
    """Return the constraint that no envelope holds less than nothing, or more than the whole."""
    return models.CheckConstraint(
        condition=Q(audit_tokens_used__gte=0, audit_tokens_used__lte=F("tokens_used"))
        & Q(audit_tokens_reserved__gte=0, audit_tokens_reserved__lte=F("tokens_reserved"))
        & Q(cost_micro_usd__gte=0, cost_reserved_micro_usd__gte=0),
        name=name,
    )
