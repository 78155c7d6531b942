"""Runs: how one is started, how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runs.api.fields import Count, Id, Text, TextList, Word
from runs.lifecycle import RunState
from runs.models import Phase, Run, Tier
from runs.promotion import is_eligible
from runs.rows import PHASE_SHOWN, TIER_SHOWN

MAX_PAGE = 200
MAX_CAP = 10**15  # a strategy's numbers are exact as doubles
MAX_MINUTES = 366 * 24 * 60


class RunOptionsIn(serializers.Serializer[Any]):
    """The run itself. What is absent is as the project's ruleset says."""

    run_id = Id()
    project_id = Id(required=False, allow_null=True)
    safety_profile = Word(required=False, allow_null=True, max_length=32)
    run_scope = Word(required=False, allow_null=True, max_length=32)
    token_cap = Count(required=False, allow_null=True, max_value=MAX_CAP)
    max_phases = Count(required=False, allow_null=True, max_value=100_000)
    max_duration_minutes = Count(required=False, allow_null=True, min_value=1, max_value=MAX_MINUTES)


class TierIn(serializers.Serializer[Any]):
    """A tier of the plan."""

    tier_id = Id()
    tier_index = Count()
    name = Text()
    description = Text(required=False, allow_null=True)


class PhaseIn(serializers.Serializer[Any]):
    """A phase of the plan."""

    phase_id = Id()
    phase_index = Count()
    tier_id = Id()
    name = Text()
    description = Text(required=False, allow_null=True)
    task_category = Text(required=False, allow_null=True)
    complexity = Text(required=False, allow_null=True)
    builder_mode = Text(required=False, allow_null=True)
    scope = TextList(required=False, allow_null=True)
    depends_on = TextList(required=False, allow_null=True)


@extend_schema_field(TierIn(many=True))
class _Tiers(serializers.ListField):
    """Rows that `runs.plan` judges: it says where each fault is."""

    row = TierIn


@extend_schema_field(PhaseIn(many=True))
class _Phases(serializers.ListField):
    """Rows that `runs.plan` judges."""

    row = PhaseIn


class StartIn(serializers.Serializer[Any]):
    """A run with its tiers and phases, or with a plan document in place of them."""

    run = RunOptionsIn()
    project_id = Id(required=False, allow_null=True)
    tiers = _Tiers(required=False)
    phases = _Phases(required=False)
    plan = Text(required=False, allow_null=True, allow_blank=False, max_length=1_000_000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse both forms at once, and neither."""
        has_rows = "tiers" in attrs or "phases" in attrs
        if attrs.get("plan") is not None:
            if attrs.get("tiers") or attrs.get("phases"):
                raise serializers.ValidationError({"plan": "It stands in place of tiers and phases"})
        elif not has_rows or "tiers" not in attrs or "phases" not in attrs:
            missing = [name for name in ("tiers", "phases") if name not in attrs]
            raise serializers.ValidationError(dict.fromkeys(missing, "This field is required."))
        return attrs


class PhaseOut(serializers.Serializer[Phase]):
    """A phase within a run."""

    id = serializers.IntegerField()
    phase_id = serializers.CharField()
    name = serializers.CharField()
    state = serializers.CharField()
    task_category = serializers.CharField()
    complexity = serializers.CharField()
    builder_mode = serializers.CharField(allow_null=True)
    phase_index = serializers.IntegerField()


class TierOut(serializers.Serializer[Tier]):
    """A tier within a run; its phases in index order."""

    id = serializers.IntegerField()
    tier_id = serializers.CharField()
    name = serializers.CharField()
    state = serializers.CharField()
    tier_index = serializers.IntegerField()
    cleanliness = serializers.CharField()
    minor_issues_count = serializers.IntegerField()
    major_issues_count = serializers.IntegerField()
    phases = PhaseOut(many=True)


class RunOut(serializers.Serializer[Run]):
    """RunResponse of API.md, for its description: `run_response` makes it. Clients know the decision as text."""

    id = serializers.CharField(source="run_id")
    run_id = serializers.CharField()
    state = serializers.CharField()
    safety_profile = serializers.CharField()
    run_scope = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)
    tokens_used = serializers.IntegerField()
    ci_runs_used = serializers.IntegerField()
    minor_issues_count = serializers.IntegerField()
    major_issues_count = serializers.IntegerField()
    promotion_eligible_to_main = serializers.ChoiceField(choices=["true", "false"])
    debt_status = serializers.CharField()
    failure_reason = serializers.CharField(allow_null=True)
    tiers = TierOut(many=True)


_RUN: tuple[str, ...] = tuple(
    name for name in RunOut().get_fields() if name not in ("id", "promotion_eligible_to_main", "tiers")
)


def run_response(run: Run, plan: Sequence[Any]) -> dict[str, object]:
    """Return what RunOut describes, for the rows of its plan (`rows.plan_shown`).

    By hand: this is what agents ask for most, and the serializers take longer than the queries.
    """
    tiers: dict[int, Any] = {}
    inside: dict[int, list[dict[str, object]]] = {}
    for row in plan:
        if row.id not in tiers:
            tiers[row.id], inside[row.id] = row, []
        if row.phases__id is not None:
            inside[row.id].append(dict(zip(PHASE_SHOWN, row[len(TIER_SHOWN) :], strict=True)))
    shown = [
        {**dict(zip(TIER_SHOWN, tier, strict=False)), "phases": inside[tier.id]} for tier in tiers.values()
    ]
    eligible = "true" if is_eligible(run, list(tiers.values()))[0] else "false"
    return {
        "id": run.run_id,
        **{name: getattr(run, name) for name in _RUN},
        "promotion_eligible_to_main": eligible,
        "tiers": shown,
    }


class RunListIn(serializers.Serializer[Any]):
    """Which runs to list."""

    state = serializers.ChoiceField(choices=[str(state) for state in RunState], required=False)
    project_id = Id(required=False)
    limit = Count(required=False, default=50, min_value=1, max_value=MAX_PAGE)
    cursor = Word(required=False, max_length=512)


class RunRowOut(serializers.Serializer[Run]):
    """A run in a list."""

    id = serializers.CharField(source="run_id")
    run_id = serializers.CharField()
    project_id = serializers.CharField(source="project.project_id")
    state = serializers.CharField()
    safety_profile = serializers.CharField()
    run_scope = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)
    tokens_used = serializers.IntegerField()
    token_cap = serializers.IntegerField(allow_null=True)
    audit_tokens_used = serializers.IntegerField()
    cost_usd = serializers.FloatField()
    cost_cap_usd = serializers.FloatField(allow_null=True)
    overrun = serializers.IntegerField()
    ci_runs_used = serializers.IntegerField()
    minor_issues_count = serializers.IntegerField()
    major_issues_count = serializers.IntegerField()
    debt_status = serializers.CharField()
    failure_reason = serializers.CharField(allow_null=True)


class RunListOut(serializers.Serializer[Any]):
    """A page of runs, newest first; `next_cursor` null on the last one."""

    runs = RunRowOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class EventListIn(serializers.Serializer[Any]):
    """Which events: those with an id above `after`."""

    after = Count(required=False, default=0, max_value=2**62)
    limit = Count(required=False, default=100, min_value=1, max_value=1000)


class EventOut(serializers.Serializer[Any]):
    """One row of a run's history."""

    id = serializers.IntegerField()
    machine = serializers.CharField()
    subject = serializers.CharField()
    event = serializers.CharField()
    from_state = serializers.CharField()
    to_state = serializers.CharField()
    who = serializers.CharField()
    why = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]  # a column's name
    version = serializers.IntegerField(allow_null=True)
    at = serializers.DateTimeField()
    correlation_id = serializers.CharField()


class EventListOut(serializers.Serializer[Any]):
    """A page of events, oldest first. Ask again with `after=next_after`, also when nothing came."""

    run_id = serializers.CharField()
    events = EventOut(many=True)
    next_after = serializers.IntegerField()
    has_more = serializers.BooleanField()


class BranchOut(serializers.Serializer[Any]):
    """integration_status: the branch as git has it; when it is absent `message` says so."""

    branch = serializers.CharField()
    exists = serializers.BooleanField()
    message = serializers.CharField(required=False)
    commit_count = serializers.IntegerField(required=False)
    latest_commit = serializers.CharField(required=False)
    ahead_of_main = serializers.IntegerField(required=False)
    behind_main = serializers.IntegerField(required=False)


class CancelIn(serializers.Serializer[Any]):
    """Why the run is cancelled."""

    why = Text(required=False, allow_null=True, default="", max_length=1000)
