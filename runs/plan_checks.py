"""What every plan must obey, whichever way it came in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from autopack_site.kernel.errors import AutopackError, Invalid, problem
from autopack_site.kernel.ids import ID_RULE, is_valid_id
from strategy.defaults import COMPLEXITIES
from strategy.names import glob_problem
from strategy.scopes import is_scope_name
from strategy.types import PhaseSpec, Plan

MAX_TIERS = 200
MAX_PHASES = 1000
MAX_NAME_CHARS = 200
MAX_DESCRIPTION_CHARS = 20_000
MAX_SCOPE = 200
MAX_INDEX = 1_000_000
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/:-]{0,63}")
_SCOPE_NAME = re.compile(r"@[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")

# With one of these, which phase or tier a name means is not known.
_HIDES_DEPENDENCIES = frozenset(
    {"unknown_tier", "duplicate_id", "bad_id", "too_many_phases", "too_many_tiers"}
)

Row = dict[str, Any]
Loc = list[str | int]


class UnknownTier(AutopackError):
    """A phase names a tier that the plan doesn't have."""

    code, status = "unknown-tier", 400
    title = "A phase references an unknown tier"

    def __init__(self, phase_id: str, tier_id: str) -> None:
        super().__init__(f"Phase {phase_id} references unknown tier {tier_id}")
        self.phase_id = phase_id
        self.tier_id = tier_id


def check_plan(plan: Plan) -> None:
    """Raise Invalid (422) with a row for each broken rule, or UnknownTier (400).

    Rules: sizes, ids, unique ids, names, globs, known words; known, acyclic dependencies, none on a later tier.
    The order that phases without `depends_on` have in their tier counts as a dependency, as does the order of
    the tiers: a cycle through either would never end.
    """
    rows = plan_problems(plan)
    if rows:
        raise Invalid(rows)
    tiers = {tier.tier_id for tier in plan.tiers}
    for phase in plan.phases:
        if phase.tier_id not in tiers:
            raise UnknownTier(phase.phase_id, phase.tier_id)
    rows = list(_dependency_problems(plan))
    if rows:
        raise Invalid(rows)


def every_problem(plan: Plan) -> list[Row]:
    """Return all that check_plan would refuse, as far as one fault doesn't hide another: what is listed is so."""
    rows = plan_problems(plan)
    tiers = {tier.tier_id for tier in plan.tiers}
    rows += [
        problem(
            "unknown_tier", ["body", "phases", index, "tier_id"], UnknownTier(p.phase_id, p.tier_id).detail
        )
        for index, p in enumerate(plan.phases)
        if p.tier_id not in tiers
    ]
    is_sound = not any(row["type"] in _HIDES_DEPENDENCIES for row in rows)
    return [*rows, *_dependency_problems(plan)] if is_sound else rows


def plan_problems(plan: Plan) -> list[Row]:
    """Return the faults of sizes, ids, names and words; `loc` is the place in a start request."""
    if len(plan.tiers) > MAX_TIERS:
        return [problem("too_many_tiers", ["body", "tiers"], f"A plan has at most {MAX_TIERS} tiers")]
    if len(plan.phases) > MAX_PHASES:
        return [problem("too_many_phases", ["body", "phases"], f"A plan has at most {MAX_PHASES} phases")]
    return [*_tier_problems(plan), *_phase_problems(plan)]


def _tier_problems(plan: Plan) -> Iterator[Row]:
    seen: set[str] = set()
    for index, tier in enumerate(plan.tiers):
        loc: Loc = ["body", "tiers", index]
        if not is_valid_id(tier.tier_id):
            yield problem("bad_id", [*loc, "tier_id"], f"A tier id is {ID_RULE}")
        elif tier.tier_id in seen:
            yield problem("duplicate_id", [*loc, "tier_id"], f"Two tiers have the id {tier.tier_id}")
        seen.add(tier.tier_id)
        yield from _text_problems(tier.name, tier.description, tier.tier_index, loc, "tier_index")


def _phase_problems(plan: Plan) -> Iterator[Row]:
    seen: set[str] = set()
    for index, phase in enumerate(plan.phases):
        loc: Loc = ["body", "phases", index]
        if not is_valid_id(phase.phase_id):
            yield problem("bad_id", [*loc, "phase_id"], f"A phase id is {ID_RULE}")
        elif phase.phase_id in seen:
            yield problem("duplicate_id", [*loc, "phase_id"], f"Two phases have the id {phase.phase_id}")
        seen.add(phase.phase_id)
        if not is_valid_id(phase.tier_id):
            yield problem("bad_id", [*loc, "tier_id"], f"A tier id is {ID_RULE}")
        yield from _text_problems(phase.name, phase.description, phase.phase_index, loc, "phase_index")
        yield from _word_problems(phase, loc)
        yield from _scope_problems(phase, loc)


def _text_problems(name: str, description: str, index: int, loc: Loc, index_key: str) -> Iterator[Row]:
    if not name.strip() or len(name) > MAX_NAME_CHARS or not name.isprintable():
        text = f"A name has 1 to {MAX_NAME_CHARS} printable characters on one line"
        yield problem("bad_name", [*loc, "name"], text)
    if len(description) > MAX_DESCRIPTION_CHARS:
        text = f"A description has at most {MAX_DESCRIPTION_CHARS} characters"
        yield problem("too_long", [*loc, "description"], text)
    if not 0 <= index <= MAX_INDEX:
        yield problem("bad_index", [*loc, index_key], f"An index is 0 to {MAX_INDEX}")


def _word_problems(phase: PhaseSpec, loc: Loc) -> Iterator[Row]:
    if phase.complexity is not None and phase.complexity not in COMPLEXITIES:
        text = f"Complexity must be one of {', '.join(COMPLEXITIES)}"
        yield problem("bad_complexity", [*loc, "complexity"], text)
    for key, word in (("task_category", phase.task_category), ("builder_mode", phase.builder_mode)):
        if word is not None and not _TOKEN.fullmatch(word):
            text = f"{key} has 1 to 64 letters, digits, blanks or . _ / : -"
            yield problem("bad_word", [*loc, key], text)


def _scope_problems(phase: PhaseSpec, loc: Loc) -> Iterator[Row]:
    if len(phase.scope) > MAX_SCOPE:
        yield problem("too_long", [*loc, "scope"], f"A scope has at most {MAX_SCOPE} globs")
    for place, glob in enumerate(phase.scope[:MAX_SCOPE]):
        if is_scope_name(glob):
            wrong = None if _SCOPE_NAME.fullmatch(glob) else "not the name of a scope"
        else:
            wrong = glob_problem(glob)
        if wrong:
            yield problem("bad_glob", [*loc, "scope", place], f"Phase {phase.phase_id}: {wrong}")


def _dependency_problems(plan: Plan) -> Iterator[Row]:
    places = {phase.phase_id: index for index, phase in enumerate(plan.phases)}
    order = {tier.tier_id: (tier.tier_index, tier.tier_id) for tier in plan.tiers}
    tier_of = {phase.phase_id: order[phase.tier_id] for phase in plan.phases}
    is_sound = True
    for index, phase in enumerate(plan.phases):
        for place, name in enumerate(phase.depends_on or ()):
            loc: Loc = ["body", "phases", index, "depends_on", place]
            if name == phase.phase_id:
                yield problem("self_dependency", loc, f"Phase {name} depends on itself")
            elif name not in places:
                text = f"Phase {phase.phase_id} depends on unknown phase {name[:128]}"
                yield problem("unknown_dependency", loc, text)
            elif tier_of[name] > tier_of[phase.phase_id]:
                text = f"Phase {phase.phase_id} depends on {name} of a later tier: tiers run in order"
                yield problem("later_tier", loc, text)
            else:
                continue
            is_sound = False
    cycle = find_cycle(waits_for(plan)) if is_sound else None
    if cycle:
        loc = ["body", "phases", places[cycle[0]], "depends_on"]
        yield problem("dependency_cycle", loc, f"Dependency cycle: {' -> '.join([*cycle, cycle[0]])}")


def waits_for(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return for each phase the phases it waits for: those it names, or all before it in its tier.

    Of those before it only as many are named as imply the rest: the last one that waits for all before it, and what
    stands after that one.
    """
    before: dict[str, list[str]] = {}
    edges: dict[str, tuple[str, ...]] = {}
    for phase in sorted(plan.phases, key=lambda phase: (phase.phase_index, phase.phase_id)):
        if phase.depends_on is None:
            edges[phase.phase_id] = tuple(before.get(phase.tier_id, ()))
            before[phase.tier_id] = [phase.phase_id]
        else:
            edges[phase.phase_id] = phase.depends_on
            before.setdefault(phase.tier_id, []).append(phase.phase_id)
    return edges


def find_cycle(edges: dict[str, tuple[str, ...]]) -> list[str] | None:
    """Return one cycle, from its smallest id on, or None. Every name in the values is a key."""
    done: set[str] = set()
    for start in sorted(edges):
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            node, is_leaving = stack.pop()
            if is_leaving:
                path.pop()
                on_path.discard(node)
                done.add(node)
            elif node in on_path:
                cycle = path[path.index(node) :]
                smallest = cycle.index(min(cycle))
                return cycle[smallest:] + cycle[:smallest]
            elif node not in done:
                path.append(node)
                on_path.add(node)
                stack.append((node, True))
                stack.extend((name, False) for name in sorted(edges[node], reverse=True))
    return None
