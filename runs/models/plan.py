"""Run, Tier and Phase: the plan as it is carried out."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from runs.lifecycle import PhaseState, RunState, TierState
from runs.models.spending import Caps, Counters, counters_add_up
from runs.querysets import PhaseQuerySet, RunQuerySet
from strategy.limits import cap_of
from strategy.models import Project, Strategy


def _choices(states: type) -> list[tuple[str, str]]:
    return [(str(state), str(state)) for state in states]  # type: ignore[attr-defined]


def _legal(states: type, name: str) -> models.CheckConstraint:
    return models.CheckConstraint(condition=Q(state__in=[str(s) for s in states]), name=name)  # type: ignore[attr-defined]


class Run(Counters, Caps):
    """One run of one plan over one project, from start to a terminal state.

    `config` is the project's configuration as it was at the start: a later change never reaches a run at
    work. `head_commit` is the branch's head as the database knows it; git follows by recorded intents.
    """

    State = RunState

    run_id = models.CharField(primary_key=True, max_length=128)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runs")
    strategy = models.OneToOneField(Strategy, on_delete=models.PROTECT, related_name="run")
    previous = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="next_run"
    )
    state = models.CharField(max_length=40, choices=_choices(RunState), default=RunState.PLAN_BOOTSTRAP)
    version = models.PositiveIntegerField(default=0)
    safety_profile = models.CharField(max_length=32)
    run_scope = models.CharField(max_length=32)
    token_cap = models.BigIntegerField(null=True, blank=True)  # null: unlimited
    max_phases = models.PositiveIntegerField()
    max_duration_minutes = models.PositiveIntegerField()
    max_minor_issues_total = models.PositiveIntegerField()
    config = models.JSONField(default=dict)
    base_commit = models.CharField(max_length=64, blank=True, default="")
    head_commit = models.CharField(max_length=64, blank=True, default="")
    tokens_used = models.BigIntegerField(default=0)
    tokens_reserved = models.BigIntegerField(default=0)
    ci_runs_used = models.PositiveIntegerField(default=0)
    minor_issues_count = models.PositiveIntegerField(default=0)
    major_issues_count = models.PositiveIntegerField(default=0)
    debt_status = models.CharField(max_length=32, default="none")
    failure_code = models.CharField(max_length=64, blank=True, default="")
    failure_reason = models.TextField(null=True, blank=True)
    prepare_tries = models.PositiveIntegerField(default=0)
    created_by = models.CharField(max_length=128)
    correlation_id = models.CharField(max_length=128, blank=True, default="")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "run_id"]
        constraints = [
            _legal(RunState, "run_state_is_legal"),
            models.CheckConstraint(
                condition=Q(tokens_used__gte=0) & Q(tokens_reserved__gte=0) & Q(token_cap__gte=0),
                name="run_tokens_not_negative",
            ),
            counters_add_up("run_counters_add_up"),
            models.CheckConstraint(
                condition=Q(completed_at=None) ^ Q(state__startswith="DONE_"),
                name="run_completed_at_iff_terminal",
            ),
        ]
        indexes = [
            # the run lists: newest first, all or by state
            models.Index(fields=["-created_at", "run_id"], name="run_newest"),
            models.Index(fields=["state", "-created_at"], name="run_by_state"),
            # the sweep: runs that may need a step
            models.Index(fields=["deadline_at"], condition=Q(completed_at=None), name="run_active_deadline"),
        ]

    def __str__(self) -> str:
        return self.run_id

    @property
    def branch(self) -> str:
        """The integration branch, the only branch this run ever writes."""
        return f"autonomous/{self.run_id}"

    @property
    def overrun(self) -> int:
        """Tokens spent beyond the run's cap: late reports are booked over any cap."""
        return 0 if self.token_cap is None else max(self.tokens_used - self.token_cap, 0)

    @property
    def cost_overrun(self) -> int:
        """Millionths of a dollar spent beyond the run's cap, so far as costs are known."""
        cap = self.cost_cap_micro_usd
        return 0 if cap is None else max(self.cost_micro_usd - cap, 0)

    @property
    def is_terminal(self) -> bool:
        """Tell whether the run has ended."""
        return self.state.startswith("DONE_")


class Tier(Counters, Caps):
    """A tier of a run: phases that belong together, with caps of their own."""

    State = TierState

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tiers")
    tier_id = models.CharField(max_length=128)
    tier_index = models.IntegerField()
    name = models.TextField()
    description = models.TextField(blank=True, default="")
    state = models.CharField(max_length=16, choices=_choices(TierState), default=TierState.PENDING)
    version = models.PositiveIntegerField(default=0)
    cleanliness = models.CharField(
        max_length=16, choices=[("clean", "clean"), ("not_clean", "not clean")], default="clean"
    )
    token_cap = models.BigIntegerField(null=True, blank=True)  # null: unlimited
    ci_run_cap = models.PositiveIntegerField()
    max_minor_issues = models.PositiveIntegerField()
    max_major_issues = models.PositiveIntegerField()
    tokens_used = models.BigIntegerField(default=0)
    tokens_reserved = models.BigIntegerField(default=0)
    ci_runs_used = models.PositiveIntegerField(default=0)
    minor_issues_count = models.PositiveIntegerField(default=0)
    major_issues_count = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["tier_index", "tier_id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "tier_id"], name="one_tier_id_a_run"),
            _legal(TierState, "tier_state_is_legal"),
            models.CheckConstraint(
                condition=Q(tokens_used__gte=0) & Q(tokens_reserved__gte=0), name="tier_tokens_not_negative"
            ),
            counters_add_up("tier_counters_add_up"),
            models.CheckConstraint(
                condition=Q(cleanliness__in=["clean", "not_clean"]), name="tier_cleanliness_is_legal"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.tier_id}"

    @property
    def is_terminal(self) -> bool:
        """Tell whether the tier has ended."""
        return self.state in (TierState.COMPLETE, TierState.FAILED, TierState.SKIPPED)


class Phase(Counters):
    """A phase: one piece of work, tried until a green candidate lands or its budget ends.

    `depends_on` None means "after the earlier phases of the tier, whatever became of them"; a list names
    phases that must be COMPLETE. `fence` grows by one at each claim. `limits` is its part of the strategy.
    """

    State = PhaseState

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="phases")
    tier = models.ForeignKey(Tier, on_delete=models.CASCADE, related_name="phases")
    phase_id = models.CharField(max_length=128)
    phase_index = models.IntegerField()
    name = models.TextField()
    description = models.TextField(blank=True, default="")
    task_category = models.CharField(max_length=64)
    complexity = models.CharField(max_length=16)
    builder_mode = models.CharField(max_length=64, null=True, blank=True)
    scope = models.JSONField(default=list)
    depends_on = models.JSONField(null=True, blank=True)
    limits = models.JSONField(default=dict)
    state = models.CharField(max_length=16, choices=_choices(PhaseState), default=PhaseState.QUEUED)
    version = models.PositiveIntegerField(default=0)
    fence = models.PositiveBigIntegerField(default=0)
    builder_attempts = models.PositiveIntegerField(default=0)
    auditor_attempts = models.PositiveIntegerField(default=0)
    lost_attempts = models.PositiveIntegerField(default=0)
    tokens_used = models.BigIntegerField(default=0)
    tokens_reserved = models.BigIntegerField(default=0)
    minor_issues_count = models.PositiveIntegerField(default=0)
    major_issues_count = models.PositiveIntegerField(default=0)
    notes = models.TextField(blank=True, default="")
    # somebody asked for an audit before the next candidate may land: {focus, profile, context, by}
    audit_request = models.JSONField(null=True, blank=True)
    commit_sha = models.CharField(max_length=64, blank=True, default="")
    failure_cause = models.CharField(max_length=16, blank=True, default="")
    failure_code = models.CharField(max_length=64, blank=True, default="")
    failure_reason = models.TextField(null=True, blank=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    claim_deadline_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    objects = PhaseQuerySet.as_manager()

    class Meta:
        ordering = ["phase_index", "phase_id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "phase_id"], name="one_phase_id_a_run"),
            _legal(PhaseState, "phase_state_is_legal"),
            models.CheckConstraint(
                condition=Q(tokens_used__gte=0) & Q(tokens_reserved__gte=0), name="phase_tokens_not_negative"
            ),
            counters_add_up("phase_counters_add_up"),
            # completion needs the commit that earned it
            models.CheckConstraint(
                condition=~Q(state="COMPLETE") | ~Q(commit_sha=""), name="phase_complete_has_commit"
            ),
        ]
        indexes = [
            # claim_phase: queued phases that are ready, oldest plan position first
            models.Index(
                fields=["run", "phase_index"],
                condition=Q(state="QUEUED", ready_at__isnull=False),
                name="phase_claimable",
            ),
            # the sweep: claim deadlines
            models.Index(
                F("claim_deadline_at"),
                condition=Q(claim_deadline_at__isnull=False),
                name="phase_claim_deadline",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.phase_id}"

    @property
    def is_terminal(self) -> bool:
        """Tell whether the phase has ended."""
        return self.state in (PhaseState.COMPLETE, PhaseState.FAILED, PhaseState.SKIPPED)

    @property
    def overrun(self) -> int:
        """Tokens spent beyond the phase's cap."""
        cap = cap_of(self.limits.get("incident_token_cap"))
        return 0 if cap is None else max(self.tokens_used - cap, 0)

    def is_unclaimed_since(self, now: datetime) -> bool:
        """Tell whether nobody claimed or audited it by its claim deadline (`PhaseQuerySet.unclaimed_since`)."""
        return self.claim_deadline_at is not None and self.claim_deadline_at <= now and not self.is_terminal
