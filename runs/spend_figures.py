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
    """Return the attempts that an agent worked on, with `cost`."""
    worked = Attempt.objects.filter(run__in=ended.order_by().values("pk")).exclude(agent="")
    # an auditor's own patch is paid by its audit
    return worked.exclude(kind=Attempt.Kind.AUDIT_PATCH).alias(shape=_SHAPE).annotate(cost=_COST).order_by()


def by_agent(ended: RunQuerySet, most: int) -> dict[str, Shape]:
    """Return the sums by agent, the `most` that spent most."""
    return _grouped(_attempts(ended).annotate(slice=F("agent")), most)


def by_model(ended: RunQuerySet, most: int) -> dict[str, Shape]:
    """Return the sums by the model that agents named; `unknown` where they named none."""
    name = Coalesce(Left(KeyTextTransform("model", "usage"), MAX_MODEL_CHARS), Value(NOBODY))
    return _grouped(_attempts(ended).annotate(slice=name), most)


def _grouped(attempts: Any, most: int) -> dict[str, Shape]:
    rows = (
        attempts.values("slice")
        .annotate(
            attempts=Count("pk"),
            merged=Count("pk", filter=Q(state=AttemptState.MERGED)),
            spent=Sum("tokens_used"),
            unknown=Count("pk", filter=Q(tokens_used=None)),
            over=Sum(_OVER),
            dollars=Sum("cost"),
            priced=Count("cost"),
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
            "cost_usd": _dollars(row["dollars"]),
            "unknown_cost": row["attempts"] - row["priced"],
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
        dollars=Sum("cost"),
        priced=Count("cost"),
    )
    tokens, dollars = _whole(sums["spent"]), _dollars(sums["dollars"])
    return {
        "accepted_phases": phases,
        "tokens": tokens / phases if phases and tokens is not None else None,
        "cost_usd": dollars / phases if phases and dollars is not None else None,
        "unknown_usage": sums["unknown"],
        "unknown_cost": sums["attempts"] - sums["priced"],
    }


def overrun(ended: RunQuerySet) -> Shape:
    """Return how many runs spent more than their cap, and how many tokens beyond it: late reports are booked."""
    over = ended.filter(tokens_used__gt=F("token_cap")).order_by()
    sums = over.aggregate(runs=Count("pk"), tokens=Coalesce(Sum(F("tokens_used") - F("token_cap")), 0))
    return {"runs": sums["runs"], "tokens": int(sums["tokens"])}


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


def _dollars(value: Any) -> float | None:
    return None if value is None else round(float(value), 6)
