"""Sums that the database makes for the charts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Aggregate, FloatField, Func, IntegerField
from django.db.models.expressions import Combinable


class Seconds(Func):
    """How long an interval is, in seconds."""

    function = "EXTRACT"
    template = "EXTRACT(EPOCH FROM (%(expressions)s))"
    output_field = FloatField()


class Percentile(Aggregate):
    """The value below which a share (0..1) of the rows lie, between two of them where need be."""

    template = "PERCENTILE_CONT(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()

    def __init__(self, expression: Combinable, *, share: float, **extra: Any) -> None:
        super().__init__(expression, share=f"{float(share):.4f}", **extra)


class Bucket(Func):
    """The number of the slice of time that a moment falls into, `width_s` seconds each, from 0."""

    template = "FLOOR((EXTRACT(EPOCH FROM %(expressions)s) - %(origin)s) / %(width)s)::int"
    output_field = IntegerField()

    def __init__(self, expression: str, *, origin: datetime, width_s: int) -> None:
        super().__init__(expression, origin=f"{origin.timestamp():.6f}", width=f"{int(width_s)}")
