"""A plan of more phases than one run may hold, as the parts that linked runs carry out one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Any

from autopack_site.kernel.errors import problem
from runs.plan_checks import waits_for
from strategy.errors import TooManyPhases
from strategy.types import PhaseSpec, Plan, TierSpec


@dataclass(frozen=True, slots=True)
class Part:
    """One run of a split plan. `waits_for` names its phases' dependencies that earlier parts complete."""

    plan: Plan
    waits_for: dict[str, tuple[str, ...]]


def split_plan(plan: Plan, limit: int) -> list[Part]:
    """Split a checked plan into parts of at most `limit` phases each, in the order of tiers.

    Whole tiers stay together where they fit; a tier that is larger than the limit is cut in the order of its
    dependencies, and its parts keep its id. A dependency on an earlier part is dropped from the part's plan:
    that part is complete before the next one starts. Raises TooManyPhases for a limit that no phase fits in.
    """
    if limit < 1 and plan.phases:
        text = f"The plan has {len(plan.phases)} phases; the run may have {limit}"
        raise TooManyPhases([problem("too_many_phases", ["body", "phases"], text)])
    if len(plan.phases) <= limit:
        return [Part(plan, {})]
    return list(_parts(plan, limit))


def _parts(plan: Plan, limit: int) -> Iterator[Part]:
    edges = waits_for(plan)
    done: set[str] = set()
    tiers: list[TierSpec] = []
    phases: list[PhaseSpec] = []
    for tier in sorted(plan.tiers, key=lambda tier: (tier.tier_index, tier.tier_id)):
        mine = _in_dependency_order([p for p in plan.phases if p.tier_id == tier.tier_id], edges)
        if phases and len(phases) + len(mine) > limit:
            yield _part(tiers, phases, done)
            tiers, phases = [], []
        tiers.append(tier)
        while len(mine) > limit:
            yield _part([*tiers], mine[:limit], done)
            tiers, mine = [tier], mine[limit:]
        phases += mine
    if phases or tiers:
        yield _part(tiers, phases, done)


def _part(tiers: list[TierSpec], phases: list[PhaseSpec], done: set[str]) -> Part:
    """Return the part; its phases join those that are done when the next part starts."""
    names = {phase.phase_id for phase in phases}
    earlier = {
        phase.phase_id: tuple(name for name in phase.depends_on or () if name in done) for phase in phases
    }
    done |= names
    kept = tuple(
        phase
        if phase.depends_on is None
        else replace(phase, depends_on=tuple(name for name in phase.depends_on if name in names))
        for phase in phases
    )
    return Part(Plan(tuple(tiers), kept), {name: found for name, found in earlier.items() if found})


def _in_dependency_order(phases: list[PhaseSpec], edges: dict[str, tuple[str, ...]]) -> list[PhaseSpec]:
    """Return a tier's phases with each after what it waits for, otherwise in index order."""
    by_id = {phase.phase_id: phase for phase in phases}
    open_edges = {name: {other for other in edges[name] if other in by_id} for name in by_id}
    waiters: dict[str, list[str]] = {}
    for name, others in open_edges.items():
        for other in others:
            waiters.setdefault(other, []).append(name)
    ready: list[tuple[int, str]] = []
    for name, others in open_edges.items():
        if not others:
            heappush(ready, (by_id[name].phase_index, name))
    found: list[PhaseSpec] = []
    while ready:
        _, name = heappop(ready)
        found.append(by_id[name])
        for waiter in waiters.get(name, ()):
            open_edges[waiter].discard(name)
            if not open_edges[waiter]:
                heappush(ready, (by_id[waiter].phase_index, waiter))
    return found


def part_ids(run_id: str, count: int) -> list[str]:
    """Return the ids of linked runs: the one that was asked for, then `.2`, `.3` and so on."""
    return [run_id if number == 1 else f"{run_id}.{number}" for number in range(1, count + 1)]


def parts_shown(parts: list[Part], run_id: str) -> list[dict[str, Any]]:
    """Return the parts as rows for people and programs."""
    ids = part_ids(run_id, len(parts))
    return [
        {
            "run_id": name,
            "after": ids[number - 1] if number else None,
            "phase_count": len(part.plan.phases),
            "tiers": [
                {
                    "tier_id": tier.tier_id,
                    "phases": [p.phase_id for p in part.plan.phases if p.tier_id == tier.tier_id],
                }
                for tier in part.plan.tiers
            ],
            "waits_for": [
                {"phase_id": phase_id, "depends_on": list(names)}
                for phase_id, names in sorted(part.waits_for.items())
            ],
        }
        for number, (name, part) in enumerate(zip(ids, parts, strict=True))
    ]
