"""Reports over runs: which runs are meant; and, for the published schema, what is answered (API.md)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from runs.api.fields import Count, Id, Text, Word

MAX_ROWS = 1000  # clients that know no pages get so many


class _PageIn(serializers.Serializer[Any]):
    """One page of the runs of one project, or of all that the token may see."""

    project_id = Id(required=False)
    limit = Count(required=False, default=MAX_ROWS, min_value=1, max_value=MAX_ROWS)
    cursor = Word(required=False, max_length=512)


class RunMetricsIn(_PageIn):
    """Which runs: `status` is a state; empty is any."""

    status = Text(required=False, default="")


class BudgetAnalysisIn(_PageIn):
    """Which runs: those that ended from `since` on and before `until`."""

    since = serializers.DateTimeField(required=False, allow_null=True, default=None)
    until = serializers.DateTimeField(required=False, allow_null=True, default=None)


class RunMetricsRowOut(serializers.Serializer[Any]):
    """A run in figures. `token_utilization` is a share of the cap; late reports can take it above 1."""

    run_id = serializers.CharField()
    state = serializers.CharField()
    safety_profile = serializers.CharField()
    tokens_used = serializers.IntegerField()
    token_cap = serializers.IntegerField(allow_null=True)
    token_utilization = serializers.FloatField()
    minor_issues_count = serializers.IntegerField()
    major_issues_count = serializers.IntegerField()
    max_minor_issues_total = serializers.IntegerField()
    phase_count = serializers.IntegerField()
    tier_count = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class RunMetricsOut(serializers.Serializer[Any]):
    """`total_runs` counts all that match, `runs` holds one page of them, newest first."""

    total_runs = serializers.IntegerField()
    runs = RunMetricsRowOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class TierMetricsRowOut(serializers.Serializer[Any]):
    """A tier in figures. `phase_states` names the states that some phase is in."""

    tier_id = serializers.CharField()
    tier_index = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.CharField()
    cleanliness = serializers.CharField()
    minor_issues_count = serializers.IntegerField()
    major_issues_count = serializers.IntegerField()
    phase_count = serializers.IntegerField()
    phase_states = serializers.DictField(child=serializers.IntegerField())
    tokens_used = serializers.IntegerField()


class TierMetricsOut(serializers.Serializer[Any]):
    """A run's tiers in index order."""

    run_id = serializers.CharField()
    tier_count = serializers.IntegerField()
    tiers = TierMetricsRowOut(many=True)


class BudgetFailureOut(serializers.Serializer[Any]):
    """A run that a budget has ended."""

    run_id = serializers.CharField()
    state = serializers.CharField()
    tokens_used = serializers.IntegerField()
    token_cap = serializers.IntegerField(allow_null=True)
    token_utilization = serializers.FloatField()
    phase_count = serializers.IntegerField()
    max_phases = serializers.IntegerField()
    minor_issues_count = serializers.IntegerField()
    max_minor_issues_total = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)


class BudgetSliceOut(serializers.Serializer[Any]):
    """Phases that failed by a budget, and the tokens that they had used."""

    failures = serializers.IntegerField()
    tokens_used = serializers.IntegerField()


class AuditsHelpedOut(serializers.Serializer[Any]):
    """Audits after a failure: how many of the phases that they looked at completed.

    `objections` counts patches that audits for approval refused though no gate had.
    """

    audits = serializers.IntegerField()
    phases = serializers.IntegerField()
    completed = serializers.IntegerField()
    share = serializers.FloatField()
    objections = serializers.IntegerField()
    tokens_used = serializers.IntegerField()


class SpentOut(serializers.Serializer[Any]):
    """What one agent, model or envelope spent in all runs of the window. Sums hold what is known; null: nothing is.

    `cost_usd` is what counts: of each attempt the higher of what was reported and what the price table says.
    """

    attempts = serializers.IntegerField()
    merged = serializers.IntegerField()
    tokens_used = serializers.IntegerField(allow_null=True)
    unknown_usage = serializers.IntegerField()
    overrun = serializers.IntegerField()
    cost_usd = serializers.FloatField(allow_null=True)
    reported_usd = serializers.FloatField(allow_null=True)
    priced_usd = serializers.FloatField(allow_null=True)
    unknown_cost = serializers.IntegerField()


class OverrunOut(serializers.Serializer[Any]):
    """Runs of the window that spent more than a cap of theirs, the tokens and the dollars beyond it."""

    runs = serializers.IntegerField()
    tokens = serializers.IntegerField()
    cost_usd = serializers.FloatField()


class AcceptedOut(serializers.Serializer[Any]):
    """All that the window's runs spent, divided by the phases that completed."""

    accepted_phases = serializers.IntegerField()
    tokens = serializers.FloatField(allow_null=True)
    cost_usd = serializers.FloatField(allow_null=True)
    unknown_usage = serializers.IntegerField()
    unknown_cost = serializers.IntegerField()


class BudgetAnalysisOut(serializers.Serializer[Any]):
    """Runs ended by a budget: by the limit, and where in their plans it struck. `failures` is one page."""

    total_budget_failures = serializers.IntegerField()
    average_token_utilization = serializers.FloatField()
    failures = BudgetFailureOut(many=True)
    by_limit = serializers.DictField(child=serializers.IntegerField())
    by_tier = serializers.DictField(child=BudgetSliceOut())
    by_category_complexity = serializers.DictField(child=BudgetSliceOut())
    overrun = OverrunOut()
    by_envelope = serializers.DictField(child=SpentOut())
    by_agent = serializers.DictField(child=SpentOut())
    by_model = serializers.DictField(child=SpentOut())
    cost_per_accepted_phase = AcceptedOut()
    audits_helped = AuditsHelpedOut()
    next_cursor = serializers.CharField(allow_null=True)
