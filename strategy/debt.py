"""debt_cleanup phases for aged issues (SPEC section 5): bounded in number, in paths and in tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strategy.rules import Rules
from strategy.types import BacklogItem, PhaseSpec, Plan, TierSpec

CATEGORY = "debt_cleanup"
TIER_ID = "debt-cleanup"
_LIVE = frozenset({"open", "reopened", "needs_cleanup"})
_MAX_PATH_CHARS = 512


@dataclass(frozen=True, slots=True)
class DebtInsertion:
    """The plan with its debt_cleanup phases, the ids of those that touch high-risk issues, and advice."""

    plan: Plan
    high_risk_phases: frozenset[str]
    advice: tuple[tuple[str, str], ...]


def is_live(item: BacklogItem) -> bool:
    """Tell whether the entry is neither resolved nor accepted."""
    return item.status in _LIVE


def is_aged(item: BacklogItem, *, runs_threshold: int, tiers_threshold: int) -> bool:
    """Tell whether the entry is past a threshold of its safety profile, and still open."""
    return is_live(item) and (
        item.status == "needs_cleanup"
        or item.age_in_runs >= runs_threshold
        or item.age_in_tiers >= tiers_threshold
    )


def insert_debt_cleanup(
    plan: Plan, backlog: Sequence[BacklogItem], rules: Rules, *, max_phases: int, thresholds: tuple[int, int]
) -> DebtInsertion:
    """Add a last tier of cleanup phases when more issues are aged than the ruleset lets a project carry.

    One phase a group of issues whose paths overlap; the groups with most issues come first, as many as the
    ruleset and the run's phase cap leave room for. Issues whose evidence names no usable path are left out: a
    phase without a scope could touch everything.
    """
    runs_threshold, tiers_threshold = thresholds
    aged = [
        item
        for item in backlog
        if is_aged(item, runs_threshold=runs_threshold, tiers_threshold=tiers_threshold)
    ]
    room = min(rules.debt_max_phases, max_phases - len(plan.phases))
    if len(aged) <= rules.debt_aged_limit:
        return DebtInsertion(plan, frozenset(), ())
    groups = _groups(aged)
    advice = _advice(len(aged), len(groups), room, sum(not usable_paths(item) for item in aged))
    chosen = groups[: max(room, 0)]
    if not chosen:
        return DebtInsertion(plan, frozenset(), advice)
    tier = TierSpec(
        tier_id=_free_id(TIER_ID, {tier.tier_id for tier in plan.tiers}),
        tier_index=max((tier.tier_index for tier in plan.tiers), default=-1) + 1,
        name="Debt cleanup",
        description="Issues of earlier runs that have aged",
    )
    first_index = max((phase.phase_index for phase in plan.phases), default=-1) + 1
    taken = {phase.phase_id for phase in plan.phases}
    phases: list[PhaseSpec] = []
    risky: set[str] = set()
    for number, (items, paths) in enumerate(chosen, start=1):
        phase_id = _free_id(f"{TIER_ID}-{number}", taken)
        taken.add(phase_id)
        keys = ", ".join(item.issue_key for item in items[:20])
        phases.append(
            PhaseSpec(
                phase_id=phase_id,
                tier_id=tier.tier_id,
                phase_index=first_index + number - 1,
                name=f"Clean up {len(items)} aged issue{'s' if len(items) > 1 else ''}",
                description=f"Resolve: {keys}" + (" and others" if len(items) > 20 else ""),
                task_category=CATEGORY,
                complexity="medium",
                scope=paths[: rules.published.debt_max_paths],
                depends_on=(),
            )
        )
        if any(rules.canonical(item.category) in rules.high_risk for item in items):
            risky.add(phase_id)
    grown = Plan((*plan.tiers, tier), (*plan.phases, *phases))
    return DebtInsertion(grown, frozenset(risky), advice)


def usable_paths(item: BacklogItem) -> tuple[str, ...]:
    """Return the evidence paths that may become a scope: plain, relative, no wildcard, none of git's own."""
    return tuple(sorted({path for path in item.paths if _is_usable(path)}))


def _is_usable(path: str) -> bool:
    parts = path.split("/")
    return (
        0 < len(path) <= _MAX_PATH_CHARS
        and path.isprintable()
        and not set(path) & set("*?\\:")
        and all(part not in ("", ".", "..") and part.lower() != ".git" for part in parts)
    )


def _groups(aged: Iterable[BacklogItem]) -> list[tuple[tuple[BacklogItem, ...], tuple[str, ...]]]:
    """Join issues whose paths are equal or nested; most issues first, then the oldest, then by key."""
    items = [(item, usable_paths(item)) for item in sorted(aged, key=lambda item: item.issue_key)]
    items = [(item, paths) for item, paths in items if paths]
    parent = list(range(len(items)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    owner: dict[str, int] = {}
    for index, (_, paths) in enumerate(items):
        for path in paths:
            parent[root(index)] = root(owner.setdefault(path, index))
    for path, index in owner.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = owner.get("/".join(parts[:depth]))
            if above is not None:
                parent[root(index)] = root(above)

    joined: dict[int, list[int]] = {}
    for index in range(len(items)):
        joined.setdefault(root(index), []).append(index)
    groups = []
    for indices in joined.values():
        members = tuple(items[index][0] for index in indices)
        paths = tuple(sorted({path for index in indices for path in items[index][1]}))
        groups.append((members, paths))
    groups.sort(
        key=lambda group: (-len(group[0]), -max(item.age_in_runs for item in group[0]), group[0][0].issue_key)
    )
    return groups


def _advice(aged: int, groups: int, room: int, pathless: int) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    left = max(room, 0)
    if groups > left:
        rows.append(("debt-left", f"{groups} groups of aged issues, room for {left}: the rest waits"))
    if pathless:
        rows.append(("debt-without-paths", f"{pathless} of {aged} aged issues name no usable path"))
    return tuple(rows)


def _free_id(wanted: str, taken: set[str]) -> str:
    candidate, number = wanted, 2
    while candidate in taken:
        candidate, number = f"{wanted}.{number}", number + 1
    return candidate
