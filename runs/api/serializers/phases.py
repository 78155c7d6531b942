"""Phases: what an operator may say of one, and every field of it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from runs.api.fields import Count, Text
from runs.models import Phase


class UpdateStatusIn(serializers.Serializer[Any]):
    """The state that the phase is to have, its tokens in all, and counts, which are only compared."""

    state = Text(max_length=64)
    builder_attempts = Count(required=False, allow_null=True)
    tokens_used = Count(required=False, allow_null=True)
    minor_issues_count = Count(required=False, allow_null=True)
    major_issues_count = Count(required=False, allow_null=True)
    why = Text(required=False, allow_null=True, default="", max_length=1000)


class PhaseFieldsOut(serializers.Serializer[Phase]):
    """Every field of a phase. `depends_on` null: after the phases before it in its tier."""

    id = serializers.IntegerField()
    run_id = serializers.CharField()
    tier_id = serializers.CharField(source="tier.tier_id")
    phase_id = serializers.CharField()
    phase_index = serializers.IntegerField()
    name = serializers.CharField()
    description = serializers.CharField()
    task_category = serializers.CharField()
    complexity = serializers.CharField()
    builder_mode = serializers.CharField(allow_null=True)
    scope = serializers.ListField(child=serializers.CharField())
    depends_on = serializers.ListField(child=serializers.CharField(), allow_null=True)
    limits = serializers.DictField()
    state = serializers.CharField()
    version = serializers.IntegerField()
    fence = serializers.IntegerField()
    builder_attempts = serializers.IntegerField()
    auditor_attempts = serializers.IntegerField()
    lost_attempts = serializers.IntegerField()
    tokens_used = serializers.IntegerField()
    tokens_reserved = serializers.IntegerField()
    audit_tokens_used = serializers.IntegerField()
    audit_tokens_reserved = serializers.IntegerField()
    cost_micro_usd = serializers.IntegerField()
    cost_reserved_micro_usd = serializers.IntegerField()
    overrun = serializers.IntegerField()
    minor_issues_count = serializers.IntegerField()
    major_issues_count = serializers.IntegerField()
    notes = serializers.CharField()
    audit_request = serializers.DictField(allow_null=True)
    commit_sha = serializers.CharField()
    failure_cause = serializers.CharField()
    failure_code = serializers.CharField()
    failure_reason = serializers.CharField(allow_null=True)
    ready_at = serializers.DateTimeField(allow_null=True)
    claim_deadline_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class UpdateStatusOut(serializers.Serializer[Any]):
    """The phase after the move."""

    message = serializers.CharField()
    phase = PhaseFieldsOut()
