"""A phase in detail: its attempts with their verdicts, its gate runs in brief."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from integration.models import GateRun
from runs.api.fields import Count
from runs.api.serializers.phases import PhaseFieldsOut
from runs.models import Attempt, Lease


class LeaseOut(serializers.Serializer[Lease]):
    """Who works on the phase, and until when."""

    lease_id = serializers.CharField(source="id")
    attempt_id = serializers.CharField()
    owner = serializers.CharField()
    fence = serializers.IntegerField()
    ttl_s = serializers.FloatField()
    acquired_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class AttemptOut(serializers.Serializer[Attempt]):
    """One try: a build, an audit (`verdict`, of the attempt `target_id`), or an auditor's own patch."""

    attempt_id = serializers.CharField(source="id")
    kind = serializers.CharField()
    number = serializers.IntegerField()
    state = serializers.CharField()
    agent = serializers.CharField()
    fence = serializers.IntegerField()
    patch_hash = serializers.CharField()
    patch_bytes = serializers.IntegerField()
    base_commit = serializers.CharField()
    candidate_sha = serializers.CharField()
    rebuilds = serializers.IntegerField()
    infra_failures = serializers.IntegerField()
    failure_code = serializers.CharField()
    failure_reason = serializers.CharField()
    is_policy_refusal = serializers.BooleanField()
    target_id = serializers.CharField(allow_null=True)
    purpose = serializers.CharField()
    profile = serializers.CharField()
    verdict = serializers.CharField()
    notes = serializers.CharField()
    tokens_reserved = serializers.IntegerField()
    token_cap = serializers.IntegerField(allow_null=True)
    overrun = serializers.IntegerField(allow_null=True)
    tokens_used = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.FloatField(allow_null=True)
    priced_usd = serializers.FloatField(allow_null=True)
    cost_cap_usd = serializers.FloatField(allow_null=True)
    usage_source = serializers.CharField()
    usage = serializers.DictField()
    created_at = serializers.DateTimeField()
    submitted_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class GateRunOut(serializers.Serializer[GateRun]):
    """One gate run. `tries` counts those that ended; evidence and log have more."""

    gate_run_id = serializers.CharField(source="id")
    attempt_id = serializers.CharField()
    number = serializers.IntegerField()
    profile = serializers.CharField()
    candidate_sha = serializers.CharField()
    base_commit = serializers.CharField()
    state = serializers.CharField()
    verdict = serializers.CharField()
    reason = serializers.CharField()
    tries = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class PhaseDetailOut(PhaseFieldsOut):
    """Every field of the phase, and what was tried. Of very many attempts or gate runs the newest are shown."""

    lease = LeaseOut(allow_null=True)
    attempts = AttemptOut(many=True)
    gate_runs = GateRunOut(many=True)


class GateLogIn(serializers.Serializer[Any]):
    """Which gate run's log, and whether to follow it, from which byte on."""

    gate_run = Count(required=False, min_value=1, max_value=2**31 - 1, help_text="Its number; else the last")
    follow = serializers.BooleanField(required=False, default=False)
    offset = Count(required=False, default=0, max_value=2**40, help_text="With follow: begin at this byte")
