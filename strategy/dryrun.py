"""What a strategy would be, value by value with the rule behind each, and how two differ. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from strategy.explain import Explained, explain_phase, explain_run, explain_tier
from strategy.types import CompiledStrategy, Plan


@dataclass(frozen=True, slots=True)
class Place:
    """Whose value it is: a run's, one of its tiers' or phases' (`subject` is their id)."""

    run_id: str
    level: str  # run | tier | phase
    subject: str


@dataclass(frozen=True, slots=True)
class Change:
    """One value that two rulesets set otherwise; a side that has no such value is None, its rule empty."""

    level: str
    run_id: str
    subject: str
    name: str
    before: Any
    before_rule: str
    after: Any
    after_rule: str

    def to_json(self) -> dict[str, Any]:
        """Return the row."""
        return asdict(self)


Values = dict[Place, list[Explained]]


def values_of(compiled: CompiledStrategy, ruleset: Mapping[str, Any]) -> Values:
    """Return every value of a strategy with the rule behind it, the run's first, then tiers, then phases."""
    document = compiled.document
    run_id = str(document["run_id"])
    found: Values = {Place(run_id, "run", run_id): explain_run(document, ruleset)}
    for tier in compiled.plan.tiers:
        mine = [phase.phase_id for phase in compiled.plan.phases if phase.tier_id == tier.tier_id]
        found[Place(run_id, "tier", tier.tier_id)] = explain_tier(tier.tier_id, document, mine)
    for phase in compiled.plan.phases:
        found[Place(run_id, "phase", phase.phase_id)] = explain_phase(phase.phase_id, document, ruleset)
    return found


def changes(before: Values, after: Values) -> list[Change]:
    """Return what differs in value, in the order of `after`; what is only in `before` comes last."""
    return list(_changes(before, after))


def _changes(before: Values, after: Values) -> Iterator[Change]:
    missing = Explained("", None, "")
    for place in [*after, *(place for place in before if place not in after)]:
        old = {row.name: row for row in before.get(place, ())}
        new = {row.name: row for row in after.get(place, ())}
        for name in [*new, *(name for name in old if name not in new)]:
            was, becomes = old.get(name, missing), new.get(name, missing)
            if (name in old) == (name in new) and _text(was.value) == _text(becomes.value):
                continue
            yield Change(
                place.level,
                place.run_id,
                place.subject,
                name,
                was.value,
                was.rule,
                becomes.value,
                becomes.rule,
            )


def shown(compiled: CompiledStrategy, ruleset: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Return one run's strategy for people and programs. `plan` is what was asked for: the rest was inserted."""
    values = values_of(compiled, ruleset)
    document = compiled.document
    asked = {phase.phase_id for phase in plan.phases}
    run_id = str(document["run_id"])

    def rows(level: str, subject: str) -> list[dict[str, Any]]:
        return [asdict(row) for row in values[Place(run_id, level, subject)]]

    return {
        "run_id": run_id,
        "strategy_sha256": compiled.sha256,
        "phase_count": len(compiled.plan.phases),
        "values": rows("run", run_id),
        "tiers": [
            {"tier_id": tier.tier_id, "name": tier.name, "values": rows("tier", tier.tier_id)}
            for tier in compiled.plan.tiers
        ],
        "phases": [
            {
                "phase_id": phase.phase_id,
                "tier_id": phase.tier_id,
                "name": phase.name,
                "is_inserted": phase.phase_id not in asked,
                "because": document["phase_strategies"][phase.phase_id]["because"],
                "values": rows("phase", phase.phase_id),
            }
            for phase in compiled.plan.phases
        ],
        "advice": document["advice"],
    }


def joined(parts: Sequence[Values]) -> Values:
    """Return the values of linked runs together."""
    return {place: rows for part in parts for place, rows in part.items()}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
