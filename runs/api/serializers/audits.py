"""Audits that wait for an auditor."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from runs.api.fields import Id
from runs.api.serializers.projects import PageIn
from runs.models import Attempt


class AuditListIn(PageIn):
    """Which audits: of one project, of one run, or all that the token may see."""

    project_id = Id(required=False)
    run_id = Id(required=False)


class AuditOut(serializers.Serializer[Attempt]):
    """An open audit. Claim it by `POST /runs/{run_id}/claim` with `kind` audit and its `phase_id`."""

    audit_id = serializers.CharField(source="id")
    project_id = serializers.CharField(source="run.project.project_id")
    run_id = serializers.CharField()
    phase_id = serializers.CharField(source="phase.phase_id")
    phase_name = serializers.CharField(source="phase.name")
    task_category = serializers.CharField(source="phase.task_category")
    complexity = serializers.CharField(source="phase.complexity")
    number = serializers.IntegerField()
    purpose = serializers.CharField()
    profile = serializers.CharField()
    attempt_id = serializers.CharField(source="target_id", allow_null=True)
    patch_hash = serializers.CharField()
    created_at = serializers.DateTimeField()
    claim_deadline_at = serializers.DateTimeField(source="phase.claim_deadline_at", allow_null=True)


class AuditListOut(serializers.Serializer[Any]):
    """A page of open audits, the longest waiting first."""

    audits = AuditOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)
