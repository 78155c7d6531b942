"""Claims and leases."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from runs.api.fields import Count, Id, Number, Text, TextList
from runs.api.serializers.common import UsageIn

MAX_TTL_S = 3600
MAX_WAIT_S = 30


class _WorkIn(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=("build", "audit"), default="build")
    categories = TextList(max_length=100, max_chars=64, allow_null=True)
    ttl_s = Number(required=False, allow_null=True, min_value=0.1, max_value=MAX_TTL_S)
    wait_s = Number(required=False, default=0.0, min_value=0)


class ClaimIn(_WorkIn):
    """What an agent can take on in a run. `wait_s` above the cap is taken as the cap."""

    phase_id = Id(required=False, allow_null=True)


class ClaimAnyIn(_WorkIn):
    """What an agent can take on in any run of a project."""

    project_id = Id(required=False, allow_null=True)


class ClaimOut(serializers.Serializer[Any]):
    """A lease. `fence` goes with every later write; renew before `expires_at`."""

    lease_id = serializers.CharField()
    fence = serializers.IntegerField()
    run_id = serializers.CharField()
    phase_id = serializers.CharField()
    kind = serializers.CharField()
    attempt_id = serializers.CharField()
    base_commit = serializers.CharField()
    expires_at = serializers.DateTimeField()
    ttl_s = serializers.FloatField()
    brief = serializers.DictField()


class HeartbeatIn(serializers.Serializer[Any]):
    """The fence of the lease, and what the attempt has used so far: cumulative, and only what grows counts."""

    fence = Count()
    usage = UsageIn(required=False, allow_null=True)


class BudgetOut(serializers.Serializer[Any]):
    """What the attempt may still spend. `spent` and `cap` are tokens; `limit` is the cap that `state` is about.

    `spent` as a state means: hand in what there is until `stop_by`, then the lease ends.
    """

    spent = serializers.IntegerField(allow_null=True)
    cap = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(choices=("ok", "nearly_spent", "spent"))
    limit = serializers.CharField(allow_null=True)
    stop_by = serializers.DateTimeField(allow_null=True)
    turns = serializers.IntegerField(allow_null=True)
    turn_cap = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.FloatField(allow_null=True)
    cost_cap_usd = serializers.FloatField(allow_null=True)


class HeartbeatOut(serializers.Serializer[Any]):
    """The lease's new end, and the attempt's budget."""

    expires_at = serializers.DateTimeField()
    budget = BudgetOut()


class ReleaseIn(serializers.Serializer[Any]):
    """The fence of the lease, and why it is given back."""

    fence = Count()
    why = Text(required=False, allow_null=True, default="", max_length=1000)
