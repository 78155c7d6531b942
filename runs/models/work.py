"""Attempt and Lease: who works on what, and until when."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from autopack_site.kernel.ids import new_id
from runs.lifecycle import AttemptState
from runs.models.plan import Phase, Run
from runs.querysets import AttemptQuerySet, LeaseQuerySet
from strategy.limits import dollars


class Attempt(models.Model):
    """One try at a phase: a build, an audit, or an auditor's own patch.

    A build's evidence is bound to (`patch_hash`, `base_commit`): when the branch moves, the candidate is
    rebuilt, `base_commit` changes, and evidence for the old base no longer counts.
    """

    State = AttemptState

    class Kind(models.TextChoices):
        """What the attempt is for."""

        BUILD = "build"
        AUDIT = "audit"
        AUDIT_PATCH = "audit_patch"

    class Purpose(models.TextChoices):
        """Why an audit is wanted."""

        NONE = ""
        APPROVAL = "approval"
        FAILURE = "failure"

    class UsageSource(models.TextChoices):
        """How the token figure is known. Unknown is never counted as zero."""

        REPORTED = "reported"
        DERIVED = "derived"
        UNKNOWN = "unknown"

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="attempts")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="attempts")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=[(str(s), str(s)) for s in AttemptState])
    agent = models.CharField(max_length=128, blank=True, default="")
    fence = models.PositiveBigIntegerField(default=0)
    brief_notes = models.TextField(blank=True, default="")
    # bytes: a patch need not be text in any one encoding
    patch = models.BinaryField(default=b"")
    patch_hash = models.CharField(max_length=64, blank=True, default="")
    base_commit = models.CharField(max_length=64, blank=True, default="")
    candidate_sha = models.CharField(max_length=64, blank=True, default="")
    rebuilds = models.PositiveIntegerField(default=0)
    infra_failures = models.PositiveIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    failure_code = models.CharField(max_length=64, blank=True, default="")
    failure_reason = models.TextField(blank=True, default="")
    is_policy_refusal = models.BooleanField(default=False)
    # an audit's own fields: what it looks at, and what it says
    target = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="audits")
    purpose = models.CharField(max_length=16, choices=Purpose.choices, blank=True, default="")
    profile = models.CharField(max_length=64, blank=True, default="")
    verdict = models.CharField(max_length=16, blank=True, default="")
    notes = models.TextField(blank=True, default="")
    report = models.JSONField(default=dict, blank=True)
    tokens_reserved = models.BigIntegerField(default=0)
    # what it was given when it started, by which cap; what it spends beyond is its overrun
    token_cap = models.BigIntegerField(null=True, blank=True)
    token_limit = models.CharField(max_length=64, blank=True, default="", db_default="")
    tokens_used = models.BigIntegerField(null=True, blank=True)
    usage = models.JSONField(default=dict, blank=True)
    usage_source = models.CharField(max_length=16, choices=UsageSource.choices, default=UsageSource.UNKNOWN)
    # money, in millionths of a dollar: given, held, by the price table, and what counts (`runs.costs`)
    cost_cap_micro_usd = models.BigIntegerField(null=True, blank=True)
    cost_limit = models.CharField(max_length=64, blank=True, default="", db_default="")
    cost_reserved_micro_usd = models.BigIntegerField(default=0, db_default=0)
    priced_micro_usd = models.BigIntegerField(null=True, blank=True)
    cost_micro_usd = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["phase", "kind", "number"], name="one_attempt_a_number"),
            models.UniqueConstraint(
                fields=["phase"], condition=Q(state="MERGED"), name="one_merged_attempt_a_phase"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[str(s) for s in AttemptState]), name="attempt_state_is_legal"
            ),
            models.CheckConstraint(
                condition=Q(verdict__in=["", "approve", "revise", "escalate"]),
                name="attempt_verdict_is_legal",
            ),
            models.CheckConstraint(condition=Q(tokens_reserved__gte=0), name="attempt_reserve_not_negative"),
            models.CheckConstraint(
                condition=Q(tokens_used=None) | Q(tokens_used__gte=0), name="attempt_tokens_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(cost_reserved_micro_usd__gte=0)
                & (Q(cost_micro_usd=None) | Q(cost_micro_usd__gte=0)),
                name="attempt_cost_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["run", "created_at"], name="attempt_of_run"),
            # the budget analysis: what audits came to
            models.Index(
                fields=["run", "phase"],
                condition=Q(kind="audit", state="DECIDED"),
                name="attempt_decided_audit",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.phase_id}:{self.kind}:{self.number}"

    @property
    def cost_usd(self) -> float | None:
        """What it has cost in dollars, the higher of what was reported and priced; None: unknown."""
        return dollars(self.cost_micro_usd)

    @property
    def priced_usd(self) -> float | None:
        """What the price table says that it cost; None: unknown."""
        return dollars(self.priced_micro_usd)

    @property
    def cost_cap_usd(self) -> float | None:
        """What it may cost; None: no cap."""
        return dollars(self.cost_cap_micro_usd)

    @property
    def overrun(self) -> int | None:
        """Tokens spent beyond what it was given; None where one of them is unknown."""
        if self.tokens_used is None or self.token_cap is None:
            return None
        return max(self.tokens_used - self.token_cap, 0)


class Lease(models.Model):
    """The right to work on a phase until `expires_at` (the database's clock). One live lease a phase."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="leases")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="leases")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="leases")
    owner = models.CharField(max_length=128)
    fence = models.PositiveBigIntegerField()
    ttl_s = models.FloatField()
    acquired_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    release_reason = models.CharField(max_length=32, blank=True, default="")

    objects = LeaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["phase"], condition=Q(released_at=None), name="one_live_lease_per_phase"
            ),
            models.UniqueConstraint(fields=["phase", "fence"], name="one_lease_a_fence"),
        ]
        indexes = [
            # the sweep: live leases that ran out
            models.Index(fields=["expires_at"], condition=Q(released_at=None), name="lease_live_expiry"),
            # Prometheus: leases that ran out in a window
            models.Index(fields=["released_at"], condition=Q(release_reason="expired"), name="lease_expired"),
        ]

    def __str__(self) -> str:
        return f"{self.phase_id}#{self.fence}"
