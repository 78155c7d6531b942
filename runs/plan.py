"""Plans as they come in: a Markdown document or the JSON of a start request -> `strategy.types.Plan`.

Whatever comes in, only typed errors come out, and each says where: a line for documents, a path for JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autopack_site.kernel.errors import Invalid, problem
from runs.plan_checks import UnknownTier, check_plan
from runs.plan_markdown import parse_plan_document
from runs.plan_render import plan_to_json, plan_to_markdown
from strategy.types import PhaseSpec, Plan, TierSpec
from strategy.validation import check

__all__ = [
    "UnknownTier",
    "check_plan",
    "parse_plan_document",
    "plan_from_json",
    "plan_from_valid",
    "plan_to_json",
    "plan_to_markdown",
]


def plan_from_json(tiers: Sequence[Mapping[str, Any]], phases: Sequence[Mapping[str, Any]]) -> Plan:
    """Return the checked plan of a start request's `tiers` and `phases` (API.md section 1).

    Raises Invalid with rows whose `loc` begins with "body", and UnknownTier.
    """
    try:
        value = check("plan", {"tiers": _plain(tiers), "phases": _plain(phases)})
    except Invalid as error:
        raise Invalid(
            [problem(row["type"], ["body", *row["loc"]], row["msg"]) for row in error.problems]
        ) from None
    plan = plan_from_valid(value)
    check_plan(plan)
    return plan


def plan_from_valid(value: Mapping[str, Any]) -> Plan:
    """Return the plan of a value that obeys the plan schema, otherwise unchecked."""
    return Plan(
        tuple(
            TierSpec(row["tier_id"], row["tier_index"], row["name"], row.get("description") or "")
            for row in value["tiers"]
        ),
        tuple(_phase(row) for row in value["phases"]),
    )


def _phase(row: Mapping[str, Any]) -> PhaseSpec:
    depends_on = row.get("depends_on")
    return PhaseSpec(
        phase_id=row["phase_id"],
        tier_id=row["tier_id"],
        phase_index=row["phase_index"],
        name=row["name"],
        description=row.get("description") or "",
        task_category=row.get("task_category") or None,
        complexity=row.get("complexity") or None,
        builder_mode=row.get("builder_mode") or None,
        scope=tuple(row.get("scope") or ()),
        depends_on=None if depends_on is None else tuple(depends_on),
    )


def _plain(rows: Any) -> Any:
    """Return JSON types for what a serializer hands over; the schema judges anything else."""
    if isinstance(rows, (list, tuple)):
        return [_plain(row) for row in rows]
    if isinstance(rows, Mapping):
        return {str(key): _plain(value) for key, value in rows.items()}
    return rows
