"""debt_cleanup phases for aged issues (SPEC section 5): bounded in number, issues, paths and tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strategy.backlog import is_aged
from strategy.rules import Rules
from strategy.types import BacklogItem, PhaseSpec, Plan, TierSpec

CATEGORY = "debt_cleanup"
TIER_ID = "debt-cleanup"
_MAX_PATH_CHARS = 512
MAX_ENTRIES = 50  # issues of one phase, each of which it names


@dataclass(frozen=True, slots=True)
class DebtInsertion:
    """The plan with its debt_cleanup phases, the ids of those that touch high-risk issues, and advice.

    `cleans_up` has by phase id a row for each of its issues: key, ages, and why it is to be cleaned up.
    """

    plan: Plan
    high_risk_phases: frozenset[str]
    advice: tuple[tuple[str, str], ...]
    cleans_up: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


def insert_debt_cleanup(
    plan: Plan,
    backlog: Sequence[BacklogItem],
    rules: Rules,
    *,
    max_phases: int,
    thresholds: tuple[int, int],
    limits: tuple[int, int],
) -> DebtInsertion:
    """Add a last tier of cleanup phases when more issues are aged than a project may carry.

    `limits`: how many it may carry, how many phases are added at most. One phase a group of issues whose paths
    overlap; the groups with most issues come first, as many as the limit and the run's phase cap leave room for.
    Of a group a phase takes the oldest issues, as many as it may name and as its scope may hold the files of: the
    rest waits. Issues whose evidence names no path, or one that may be no scope, are left out: a phase without a
    scope could touch everything, and one without an issue's file could not resolve it.
    """
    runs_threshold, tiers_threshold = thresholds
    aged_limit, most = limits
    aged = [
        item
        for item in backlog
        if is_aged(item, runs_threshold=runs_threshold, tiers_threshold=tiers_threshold)
    ]
    room = min(most, max_phases - len(plan.phases))
    if len(aged) <= aged_limit:
        return DebtInsertion(plan, frozenset(), ())
    groups = _groups(aged)
    chosen = [_fitting(items, rules.published.debt_max_paths) for items in groups[: max(room, 0)]]
    waiting = sum(map(len, groups[: len(chosen)])) - sum(len(items) for items, _ in chosen)
    advice = _advice(len(aged), len(groups), room, len(aged) - sum(map(len, groups)), waiting)
    if not chosen:
        return DebtInsertion(plan, frozenset(), advice)
    tier = TierSpec(
        tier_id=_free_id(TIER_ID, {tier.tier_id for tier in plan.tiers}),
        tier_index=max((tier.tier_index for tier in plan.tiers), default=-1) + 1,
        name="Debt cleanup",
        description=f"Issues of earlier runs that have aged: {len(aged)}, and {aged_limit} may be carried",
    )
    first_index = max((phase.phase_index for phase in plan.phases), default=-1) + 1
    taken = {phase.phase_id for phase in plan.phases}
    phases: list[PhaseSpec] = []
    risky: set[str] = set()
    cleans_up: dict[str, list[dict[str, Any]]] = {}
    for number, (items, paths) in enumerate(chosen, start=1):
        phase_id = _free_id(f"{TIER_ID}-{number}", taken)
        taken.add(phase_id)
        cleans_up[phase_id] = [_named(item, thresholds) for item in items]
        phases.append(
            PhaseSpec(
                phase_id=phase_id,
                tier_id=tier.tier_id,
                phase_index=first_index + number - 1,
                name=f"Clean up {len(items)} aged issue{'s' if len(items) > 1 else ''}",
                description="Resolve: " + ", ".join(item.issue_key for item in items),
                task_category=CATEGORY,
                complexity="medium",
                scope=paths,
                depends_on=(),
            )
        )
        if any(rules.canonical(item.category) in rules.high_risk for item in items):
            risky.add(phase_id)
    grown = Plan((*plan.tiers, tier), (*plan.phases, *phases))
    return DebtInsertion(grown, frozenset(risky), advice, cleans_up)


def _named(item: BacklogItem, thresholds: tuple[int, int]) -> dict[str, Any]:
    """Return an issue as a phase's strategy names it: `because` has each limit that its age has reached."""
    ages = (("runs", item.age_in_runs, thresholds[0]), ("tiers", item.age_in_tiers, thresholds[1]))
    because = [f"{age} {unit} old, the limit is {limit}" for unit, age, limit in ages if age >= limit]
    return {
        "issue_key": item.issue_key,
        "age_in_runs": item.age_in_runs,
        "age_in_tiers": item.age_in_tiers,
        "because": because or ["marked for cleanup by a limit that held before"],
    }


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


def _fitting(items: Sequence[BacklogItem], max_paths: int) -> tuple[tuple[BacklogItem, ...], tuple[str, ...]]:
    """Return the issues that one phase takes, by key, and their files: the oldest first while there is room."""
    chosen: list[BacklogItem] = []
    paths: set[str] = set()
    for item in sorted(items, key=lambda item: (-item.age_in_runs, -item.age_in_tiers, item.issue_key)):
        wanted = paths.union(usable_paths(item))
        if len(wanted) <= max_paths and len(chosen) < MAX_ENTRIES:
            chosen.append(item)
            paths = wanted
    return tuple(sorted(chosen, key=lambda item: item.issue_key)), tuple(sorted(paths))


def _groups(aged: Iterable[BacklogItem]) -> list[tuple[BacklogItem, ...]]:
    """Join issues whose paths are equal or nested; most issues first, then the oldest, then by key."""
    items = [(item, usable_paths(item)) for item in sorted(aged, key=lambda item: item.issue_key)]
    items = [(item, paths) for item, paths in items if paths and len(paths) == len(set(item.paths))]
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
    groups = [tuple(items[index][0] for index in indices) for indices in joined.values()]
    groups.sort(key=lambda group: (-len(group), -max(item.age_in_runs for item in group), group[0].issue_key))
    return groups


def _advice(aged: int, groups: int, room: int, pathless: int, waiting: int) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    left = max(room, 0)
    if groups > left:
        rows.append(("debt-left", f"{groups} groups of aged issues, room for {left}: the rest waits"))
    if waiting:
        text = f"{waiting} aged issues of the files that are cleaned up wait: one phase does not hold them"
        rows.append(("debt-entries-left", text))
    if pathless:
        rows.append(("debt-without-paths", f"{pathless} of {aged} aged issues name no usable path"))
    return tuple(rows)


def _free_id(wanted: str, taken: set[str]) -> str:
    candidate, number = wanted, 2
    while candidate in taken:
        candidate, number = f"{wanted}.{number}", number + 1
    return candidate
