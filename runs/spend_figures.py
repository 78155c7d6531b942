"""Who spent what: the budget analysis by agent and by model, and what an accepted phase cost.

Each is one query over the attempts of the runs that ended in the window. What is not known is counted as unknown
and is in no sum: a sum of nothing known is null, never 0.
"""

from __future__ import annotations

from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    DecimalField,
    F,
    Func,
    Q,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, Greatest, Least, Left

from runs.figures import MAX_USD
from runs.lifecycle import AttemptState, PhaseState
from runs.models import Attempt, Phase
from runs.querysets import RunQuerySet
from strategy.limits import MICRO, dollars

Shape = dict[str, Any]
NOBODY = "unknown"
MAX_MODEL_CHARS = 128
# What an agent sent may be anything: only a number is read as one, and within bounds.
_SHAPE = Func(KeyTransform("cost_usd", "usage"), function="jsonb_typeof", output_field=TextField())
_NUMBER = Func(
    KeyTextTransform("cost_usd", "usage"), template="(%(expressions)s)::numeric", output_field=DecimalField()
)
_COST = Case(
    When(Q(shape="number"), then=Least(Greatest(_NUMBER, Value(0)), Value(MAX_USD))),
    default=None,
    output_field=DecimalField(),
)
_OVER = Case(
    When(tokens_used__gt=F("token_cap"), then=F("tokens_used") - F("token_cap")),
    default=Value(0),
    output_field=BigIntegerField(),
)


def _attempts(ended: RunQuerySet) -> Any:
    """Return the attempts that an agent worked on, with `said`: the cost that it reported."""
    worked = Attempt.objects.filter(run__in=ended.order_by().values("pk")).exclude(agent="")
    # an auditor's own patch is paid by its audit
    return worked.exclude(kind=Attempt.Kind.AUDIT_PATCH).alias(shape=_SHAPE).annotate(said=_COST).order_by()


def by_agent(ended: RunQuerySet, most: int) -> dict[str, Shape]:
    """Return the sums by agent, the `most` that spent most."""
    return _grouped(_attempts(ended).annotate(slice=F("agent")), most)


def by_model(ended: RunQuerySet, most: int) -> dict[str, Shape]:
    """Return the sums by the model that agents named; `unknown` where they named none."""
    name = Coalesce(Left(KeyTextTransform("model", "usage"), MAX_MODEL_CHARS), Value(NOBODY))
    return _grouped(_attempts(ended).annotate(slice=name), most)


def by_envelope(ended: RunQuerySet) -> dict[str, Shape]:
    """Return the sums of what builders and what auditors spent."""
    kind = Case(When(kind=Attempt.Kind.BUILD, then=Value("build")), default=Value("audit"))
    return _grouped(_attempts(ended).annotate(slice=kind), 2)


def _grouped(attempts: Any, most: int) -> dict[str, Shape]:
    rows = (
        attempts.values("slice")
        .annotate(
            attempts=Count("pk"),
            merged=Count("pk", filter=Q(state=AttemptState.MERGED)),
            spent=Sum("tokens_used"),
            unknown=Count("pk", filter=Q(tokens_used=None)),
            over=Sum(_OVER),
            reported=Sum("said"),
            by_table=Sum("priced_micro_usd"),
            money=Sum("cost_micro_usd"),
            known=Count("cost_micro_usd"),
        )
        .order_by(F("spent").desc(nulls_last=True), "slice")[:most]
    )
    return {
        row["slice"] or NOBODY: {
            "attempts": row["attempts"],
            "merged": row["merged"],
            "tokens_used": _whole(row["spent"]),
            "unknown_usage": row["unknown"],
            "overrun": int(row["over"] or 0),
            "cost_usd": dollars(_whole(row["money"])),
            "reported_usd": None if row["reported"] is None else round(float(row["reported"]), 6),
            "priced_usd": dollars(_whole(row["by_table"])),
            "unknown_cost": row["attempts"] - row["known"],
        }
        for row in rows
    }


def accepted(ended: RunQuerySet) -> Shape:
    """Return what a phase that completed has cost, all attempts of the runs counted. Two queries."""
    phases = Phase.objects.filter(run__in=ended.order_by().values("pk"), state=PhaseState.COMPLETE).count()
    sums = _attempts(ended).aggregate(
        attempts=Count("pk"),
        spent=Sum("tokens_used"),
        unknown=Count("pk", filter=Q(tokens_used=None)),
        money=Sum("cost_micro_usd"),
        known=Count("cost_micro_usd"),
    )
    tokens, money = _whole(sums["spent"]), dollars(_whole(sums["money"]))
    return {
        "accepted_phases": phases,
        "tokens": tokens / phases if phases and tokens is not None else None,
        "cost_usd": money / phases if phases and money is not None else None,
        "unknown_usage": sums["unknown"],
        "unknown_cost": sums["attempts"] - sums["known"],
    }


def overrun(ended: RunQuerySet) -> Shape:
    """Return how many runs spent more than a cap of theirs, and how much beyond it: late reports are booked."""
    tokens, money = F("tokens_used") - F("token_cap"), F("cost_micro_usd") - F("cost_cap_micro_usd")
    over = ended.filter(Q(tokens_used__gt=F("token_cap")) | Q(cost_micro_usd__gt=F("cost_cap_micro_usd")))
    sums = over.order_by().aggregate(
        runs=Count("pk"),
        tokens=Coalesce(Sum(Greatest(tokens, Value(0))), 0),
        money=Coalesce(Sum(Greatest(money, Value(0))), 0),
    )
    return {"runs": sums["runs"], "tokens": int(sums["tokens"]), "cost_usd": int(sums["money"]) / MICRO}


def objections(ended: RunQuerySet) -> int:
    """Return how many patches an Auditor refused though no gate had: what it found and the gate did not.

    As far as the rows tell: audits for approval that did not approve, of patches that never were red.
    """
    audits = Attempt.objects.decided_audits().filter(
        run__in=ended.order_by().values("pk"),
        purpose=Attempt.Purpose.APPROVAL,
        verdict__in=["revise", "escalate"],
    )
    unsound = (AttemptState.RED, AttemptState.REFUSED, AttemptState.FAILED)
    found = audits.exclude(target=None).exclude(target__state__in=unsound)
    return int(found.order_by().aggregate(patches=Count("target", distinct=True))["patches"])


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
