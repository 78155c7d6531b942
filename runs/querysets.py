"""The words of the field, as querysets: views, tasks and admin chain them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from runs.lifecycle import (
    ACTIVE_RUN_STATES,
    LIVE_PHASE_STATES,
    TERMINAL_PHASE_STATES,
    AttemptState,
    PhaseState,
    RunState,
)

if TYPE_CHECKING:  # the base classes name them as text
    from runs.models import ApiToken, Attempt, KeptAnswer, Lease, Outbox, Phase, Run, TokenEntry, Transition  # noqa: F401

APPLY_EVENTS = ["applied", "attempt_refused"]
SPENDING = ["settle", "adjust"]


def _count_of(model: str) -> Coalesce:
    """Count a run's rows of a model by its foreign key's index: two joins would multiply each other."""
    rows = apps.get_model(model)._default_manager.filter(run=OuterRef("pk")).order_by().values("run")
    return Coalesce(Subquery(rows.annotate(rows=Count("pk")).values("rows")), 0)


class RunQuerySet(models.QuerySet["Run"]):
    """Runs by where they stand."""

    def active(self) -> RunQuerySet:
        """Runs that have not ended."""
        return self.filter(state__in=ACTIVE_RUN_STATES)

    def terminal(self) -> RunQuerySet:
        """Runs that have ended."""
        return self.exclude(state__in=ACTIVE_RUN_STATES)

    def ended_within(self, since: datetime | None, until: datetime | None) -> RunQuerySet:
        """Runs that ended from since on and before until; None leaves that side open."""
        window = Q(completed_at__isnull=False)
        if since is not None:
            window &= Q(completed_at__gte=since)
        if until is not None:
            window &= Q(completed_at__lt=until)
        return self.filter(window)

    def out_of_budget(self) -> RunQuerySet:
        """Runs that a budget has ended."""
        return self.filter(state=RunState.DONE_FAILED_BUDGET_EXHAUSTED)

    def of_project(self, project_id: str | None) -> RunQuerySet:
        """Runs of the project; None is every project."""
        return self if project_id is None else self.filter(project__project_id=project_id)

    def with_sizes(self) -> RunQuerySet:
        """Add `phase_count` and `tier_count` to each run, counted in the same query."""
        return self.annotate(phase_count=_count_of("runs.Phase"), tier_count=_count_of("runs.Tier"))

    def overdue(self, now: datetime) -> RunQuerySet:
        """Active runs past their wall-clock limit."""
        return self.active().filter(deadline_at__lte=now)


class PhaseQuerySet(models.QuerySet["Phase"]):
    """Phases by where they stand."""

    def live(self) -> PhaseQuerySet:
        """Phases that somebody or some gate works on."""
        return self.filter(state__in=LIVE_PHASE_STATES)

    def terminal(self) -> PhaseQuerySet:
        """Phases that have ended."""
        return self.filter(state__in=TERMINAL_PHASE_STATES)

    def claimable(self) -> PhaseQuerySet:
        """Queued phases whose turn has come, in plan order. The claimed state itself excludes the others."""
        return self.filter(state=PhaseState.QUEUED, ready_at__isnull=False).order_by(
            "tier__tier_index", "phase_index", "phase_id"
        )

    def unclaimed_since(self, now: datetime) -> PhaseQuerySet:
        """Phases that nobody claimed, or nobody audited, by their claim deadline."""
        return self.filter(claim_deadline_at__lte=now).exclude(state__in=TERMINAL_PHASE_STATES)


class AttemptQuerySet(models.QuerySet["Attempt"]):
    """Attempts by kind and state."""

    def builds(self) -> AttemptQuerySet:
        """Attempts that carry a patch: builders' and auditors' own."""
        return self.filter(kind__in=["build", "audit_patch"])

    def audits(self) -> AttemptQuerySet:
        """Audits."""
        return self.filter(kind="audit")

    def decided_audits(self) -> AttemptQuerySet:
        """Audits with their verdict."""
        return self.audits().filter(state=AttemptState.DECIDED)

    def open(self) -> AttemptQuerySet:
        """Attempts that are not decided yet."""
        return self.filter(
            state__in=[
                AttemptState.WANTED,
                AttemptState.RUNNING,
                AttemptState.SUBMITTED,
                AttemptState.CANDIDATE,
                AttemptState.GATING,
                AttemptState.GREEN,
                AttemptState.MERGING,
            ]
        )


class LeaseQuerySet(models.QuerySet["Lease"]):
    """Leases by whether they hold."""

    def live(self) -> LeaseQuerySet:
        """Leases not released. Whether one has run out is a question to the database's clock."""
        return self.filter(released_at=None)

    def expired(self, now: datetime) -> LeaseQuerySet:
        """Live leases that ran out by now (the database's time)."""
        return self.live().filter(expires_at__lte=now)


class TransitionQuerySet(models.QuerySet["Transition"]):
    """Events by what they tell."""

    def applied_or_refused(self) -> TransitionQuerySet:
        """What came of the patches that builders submitted: a candidate, or a refusal."""
        return self.filter(event__in=APPLY_EVENTS)


class TokenEntryQuerySet(models.QuerySet["TokenEntry"]):
    """Lines of the token ledger."""

    def spent(self) -> TokenEntryQuerySet:
        """What was spent, and corrections of it; not what was held meanwhile."""
        return self.filter(kind__in=SPENDING)


class OutboxQuerySet(models.QuerySet["Outbox"]):
    """Open work."""

    def due(self, now: datetime) -> OutboxQuerySet:
        """Rows whose next message should be out by now (the database's time)."""
        return self.filter(due_at__lte=now)


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Tokens by validity."""

    def valid(self, now: datetime) -> ApiTokenQuerySet:
        """Tokens neither revoked nor expired."""
        return self.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))


class KeptAnswerQuerySet(models.QuerySet["KeptAnswer"]):
    """Answers kept for repeats."""

    def over(self, now: datetime) -> KeptAnswerQuerySet:
        """Those whose time was over by now (the database's time)."""
        return self.filter(kept_until__lte=now)
