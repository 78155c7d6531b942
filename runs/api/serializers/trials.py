"""Plans and rulesets that are tried: what comes in, what is answered."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runs.api.fields import Count, Id, Text, Word
from runs.api.serializers.runs import MAX_CAP, MAX_MINUTES, PhaseIn, TierIn
from runs.replay import DEFAULT_RUNS, MAX_RUNS
from strategy.documents import MAX_CHARS

MAX_PLAN_CHARS = 1_000_000
_ANY = {"description": "Any JSON value"}


@extend_schema_field(_ANY)
class AnyValue(serializers.JSONField):
    """A value of a strategy or ruleset, whatever it is."""


@extend_schema_field({"oneOf": [{"type": "object"}, {"type": "string", "maxLength": MAX_CHARS}]})
class RulesetField(serializers.JSONField):
    """A ruleset: an object, or a JSON or YAML text."""

    default_error_messages = {
        "type": "A ruleset is an object, or a text of JSON or YAML",
        "long": f"A text has at most {MAX_CHARS} characters",
    }

    def to_internal_value(self, data: Any) -> Any:
        """Return it unchecked: `strategy.validation` says what is wrong with it, by line for a text."""
        if not isinstance(data, (dict, str)):
            self.fail("type")
        if isinstance(data, str) and len(data) > MAX_CHARS:
            self.fail("long")
        return data


@extend_schema_field(TierIn(many=True))
class _Tiers(serializers.ListField):
    """Rows that `runs.plan_texts` judges."""


@extend_schema_field(PhaseIn(many=True))
class _Phases(serializers.ListField):
    """Rows that `runs.plan_texts` judges."""


class OptionsIn(serializers.Serializer[Any]):
    """What a start may ask for; what is absent is as the ruleset says."""

    safety_profile = Word(required=False, allow_null=True, max_length=32)
    run_scope = Word(required=False, allow_null=True, max_length=32)
    token_cap = Count(required=False, allow_null=True, max_value=MAX_CAP)
    max_phases = Count(required=False, allow_null=True, max_value=100_000)
    max_duration_minutes = Count(required=False, allow_null=True, min_value=1, max_value=MAX_MINUTES)


class PlanIn(serializers.Serializer[Any]):
    """A plan: `plan` is a text (Markdown, or JSON of the other form), else `tiers` and `phases`."""

    plan = Text(required=False, allow_null=True, allow_blank=False, max_length=MAX_PLAN_CHARS)
    tiers = _Tiers(required=False)
    phases = _Phases(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse both forms at once, and neither."""
        has_rows = "tiers" in attrs or "phases" in attrs
        if attrs.get("plan") is not None:
            if has_rows:
                raise serializers.ValidationError({"plan": "It stands in place of tiers and phases"})
        elif "tiers" not in attrs or "phases" not in attrs:
            missing = [name for name in ("tiers", "phases") if name not in attrs]
            raise serializers.ValidationError(dict.fromkeys(missing, "This field is required."))
        elif _chars(attrs["tiers"]) + _chars(attrs["phases"]) > MAX_PLAN_CHARS:
            text = f"A plan that is tried has at most {MAX_PLAN_CHARS} characters of names and descriptions"
            raise serializers.ValidationError({"phases": text})
        return attrs


def _chars(rows: list[Any]) -> int:
    """Return how much text there is to be read for what the phases are."""
    texts = (row.get(name) for row in rows if isinstance(row, dict) for name in ("name", "description"))
    return sum(len(text) for text in texts if isinstance(text, str))


class ProjectPlanIn(PlanIn):
    """A plan, and the project that it is for; else the token's or the default one."""

    project_id = Id(required=False, allow_null=True)
    run = OptionsIn(required=False)


class SplitIn(PlanIn):
    """A plan to be split."""

    project_id = Id(required=False, allow_null=True)
    run_id = Id(required=False, default="run")
    max_phases = Count(required=False, allow_null=True, min_value=1, max_value=100_000)


class DryRunIn(PlanIn):
    """A ruleset and the plan that it is tried on."""

    ruleset = RulesetField()
    run = OptionsIn(required=False)


class ReplayIn(serializers.Serializer[Any]):
    """A ruleset, and how many of the last ended runs it is held against."""

    ruleset = RulesetField()
    runs = Count(required=False, default=DEFAULT_RUNS, min_value=1, max_value=MAX_RUNS)


class FaultOut(serializers.Serializer[Any]):
    """One fault of a plan; `line` null where it has none."""

    type = serializers.CharField()
    loc = serializers.ListField(child=AnyValue())
    msg = serializers.CharField()
    line = serializers.IntegerField(allow_null=True)


class CheckOut(serializers.Serializer[Any]):
    """Every fault of a plan."""

    is_valid = serializers.BooleanField()  # type: ignore[assignment]  # the answer's name
    tier_count = serializers.IntegerField(allow_null=True)
    phase_count = serializers.IntegerField(allow_null=True)
    problems = FaultOut(many=True)


class ValueOut(serializers.Serializer[Any]):
    """One value with the rule behind it."""

    name = serializers.CharField()
    value = AnyValue()
    rule = serializers.CharField()


class TriedTierOut(serializers.Serializer[Any]):
    """A tier's caps."""

    tier_id = serializers.CharField()
    name = serializers.CharField()
    values = ValueOut(many=True)


class TriedPhaseOut(serializers.Serializer[Any]):
    """What a phase would be; `because` says how it was classified. Inserted ones are not the plan's."""

    phase_id = serializers.CharField()
    tier_id = serializers.CharField()
    name = serializers.CharField()
    is_inserted = serializers.BooleanField()
    because = serializers.ListField(child=serializers.CharField())
    values = ValueOut(many=True)


class AdviceOut(serializers.Serializer[Any]):
    """Something to think about; `phase_id` null where it is about the run."""

    code = serializers.CharField()
    phase_id = serializers.CharField(allow_null=True)
    message = serializers.CharField()


class TriedRunOut(serializers.Serializer[Any]):
    """The strategy that a run would get."""

    run_id = serializers.CharField()
    strategy_sha256 = serializers.CharField()
    phase_count = serializers.IntegerField()
    values = ValueOut(many=True)
    tiers = TriedTierOut(many=True)
    phases = TriedPhaseOut(many=True)
    advice = AdviceOut(many=True)


class ExplainOut(serializers.Serializer[Any]):
    """What a plan's runs would get now."""

    project_id = serializers.CharField()
    ruleset_version = serializers.IntegerField()
    runs = TriedRunOut(many=True)


class SplitTierOut(serializers.Serializer[Any]):
    """A tier's phases within one run; a tier that is cut comes in several."""

    tier_id = serializers.CharField()
    phases = serializers.ListField(child=serializers.CharField())


class WaitOut(serializers.Serializer[Any]):
    """Phases of earlier runs that a phase depends on."""

    phase_id = serializers.CharField()
    depends_on = serializers.ListField(child=serializers.CharField())


class PartOut(serializers.Serializer[Any]):
    """One of the linked runs; it starts when the one before it has succeeded."""

    run_id = serializers.CharField()
    after = serializers.CharField(allow_null=True)
    phase_count = serializers.IntegerField()
    tiers = SplitTierOut(many=True)
    waits_for = WaitOut(many=True)


class SplitOut(serializers.Serializer[Any]):
    """The linked runs of a plan."""

    max_phases = serializers.IntegerField()
    runs = PartOut(many=True)


class ConvertOut(serializers.Serializer[Any]):
    """A plan in both forms, its indexes counted in document order."""

    plan = serializers.CharField()
    tiers = serializers.ListField(child=serializers.DictField())
    phases = serializers.ListField(child=serializers.DictField())


class RulesetDifferenceOut(serializers.Serializer[Any]):
    """One place where two rulesets differ."""

    place = serializers.CharField()
    kind = serializers.CharField()  # added, removed or changed
    before = AnyValue()
    after = AnyValue()


class ChangeOut(serializers.Serializer[Any]):
    """One value that would change, with the rule on either side."""

    level = serializers.ChoiceField(["run", "tier", "phase"])
    run_id = serializers.CharField()
    subject = serializers.CharField()
    name = serializers.CharField()
    before = AnyValue()
    before_rule = serializers.CharField(allow_blank=True)
    after = AnyValue()
    after_rule = serializers.CharField(allow_blank=True)


class RefusedOut(serializers.Serializer[Any]):
    """Why a start would be refused."""

    code = serializers.CharField()
    detail = serializers.CharField()


class DryRunOut(serializers.Serializer[Any]):
    """What a ruleset would make of a plan, and what that changes."""

    project_id = serializers.CharField()
    ruleset_version = serializers.IntegerField()
    ruleset_sha256 = serializers.CharField()
    in_force_version = serializers.IntegerField(allow_null=True)
    in_force_refused = RefusedOut(allow_null=True)
    ruleset_differences = RulesetDifferenceOut(many=True)
    differences = ChangeOut(many=True)
    runs = TriedRunOut(many=True)


class StopOut(serializers.Serializer[Any]):
    """A cap that would have been met."""

    cap = serializers.CharField()
    level = serializers.ChoiceField(["run", "tier", "phase"])
    place = serializers.CharField()
    detail = serializers.CharField()


class OutcomeOut(serializers.Serializer[Any]):
    """What a ruleset would have made of a past run; lists are of phase ids."""

    stops = StopOut(many=True)
    tokens_kept = serializers.IntegerField()
    refused = RefusedOut(allow_null=True)
    audits_added = serializers.ListField(child=serializers.CharField())
    audits_spared = serializers.ListField(child=serializers.CharField())
    gates_stricter = serializers.ListField(child=serializers.CharField())
    gates_laxer = serializers.ListField(child=serializers.CharField())
    over_attempt_tokens = serializers.ListField(child=serializers.CharField())
    patches_refused = serializers.ListField(child=serializers.CharField())


class ReplayedRunOut(OutcomeOut):
    """A past run under the ruleset; `in_force` null where the ruleset in force would have made the same of it."""

    run_id = serializers.CharField()
    state = serializers.CharField()
    tokens = serializers.IntegerField()
    in_force = OutcomeOut(allow_null=True)


class CapCountOut(serializers.Serializer[Any]):
    """How many runs a cap would have stopped, and the newest of them."""

    cap = serializers.CharField()
    runs = serializers.IntegerField()
    first_run = serializers.CharField()
    first_place = serializers.CharField()


class TotalsOut(serializers.Serializer[Any]):
    """Outcomes added up."""

    runs = serializers.IntegerField()
    runs_stopped = serializers.IntegerField()
    runs_refused = serializers.IntegerField()
    phases_audited = serializers.IntegerField()
    audits_spared = serializers.IntegerField()
    gates_stricter = serializers.IntegerField()
    gates_laxer = serializers.IntegerField()
    patches_refused = serializers.IntegerField()
    tokens = serializers.IntegerField()
    tokens_kept = serializers.IntegerField()
    caps = CapCountOut(many=True)


class ReplayOut(serializers.Serializer[Any]):
    """A ruleset held against the past, beside the one in force; `not_known` is what the past can't tell."""

    project_id = serializers.CharField()
    ruleset_version = serializers.IntegerField()
    ruleset_sha256 = serializers.CharField()
    in_force_version = serializers.IntegerField(allow_null=True)
    ruleset_differences = RulesetDifferenceOut(many=True)
    summary = serializers.ListField(child=serializers.CharField())
    totals = TotalsOut()
    totals_in_force = TotalsOut(allow_null=True)
    runs = ReplayedRunOut(many=True)
    not_known = serializers.ListField(child=serializers.CharField())


class ClassificationRowOut(serializers.Serializer[Any]):
    """Words and paths, and what they show; `of` says whose row it is."""

    category = serializers.CharField(required=False)
    complexity = serializers.CharField(required=False)
    builder_mode = serializers.CharField(required=False)
    words = serializers.ListField(child=serializers.CharField())
    paths = serializers.ListField(child=serializers.CharField())
    of = serializers.CharField()


class ClassificationOut(serializers.Serializer[Any]):
    """The table in force, the riskiest row first: the first that matches shows a phase's category."""

    project_id = serializers.CharField()
    ruleset_version = serializers.IntegerField(allow_null=True)
    rows = ClassificationRowOut(many=True)
    ignored_words = serializers.ListField(child=serializers.CharField())
    high_complexity_words = serializers.ListField(child=serializers.CharField())
    light_tweak_words = serializers.ListField(child=serializers.CharField())
    mode_by_category = serializers.DictField(child=serializers.CharField())
