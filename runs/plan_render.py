"""A plan as a Markdown document that `parse_plan_document` reads back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from strategy.types import PhaseSpec, Plan

_SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")


def plan_to_markdown(plan: Plan, *, title: str = "Plan") -> str:
    """Return the document, in index order.

    Reading it back gives the same plan, with indexes counted from 0 in document order. A phase without a tier
    is left out: check the plan first.
    """
    lines = [f"# {_escaped(title)}", ""]
    for tier in sorted(plan.tiers, key=lambda tier: (tier.tier_index, tier.tier_id)):
        lines += [f"## {_escaped(tier.name)}", "", f"- id: {tier.tier_id}"]
        lines += [*_description(tier.description), ""]
        phases = [phase for phase in plan.phases if phase.tier_id == tier.tier_id]
        for phase in sorted(phases, key=lambda phase: (phase.phase_index, phase.phase_id)):
            lines += [f"### {_escaped(phase.name)}", "", *_fields(phase), ""]
    return "\n".join(lines)


def _fields(phase: PhaseSpec) -> Iterator[str]:
    yield f"- id: {phase.phase_id}"
    for key, value in (
        ("category", phase.task_category),
        ("complexity", phase.complexity),
        ("mode", phase.builder_mode),
    ):
        if value is not None:
            yield f"- {key}: {value}"
    if phase.scope:
        yield "- scope:"
        for glob in phase.scope:
            yield f"  - {_escaped(glob) if '`' in glob else f'`{glob}`'}"
    if phase.depends_on == ():
        yield "- depends_on: none"
    elif phase.depends_on is not None:
        yield "- depends_on:"
        yield from (f"  - {name}" for name in phase.depends_on)
    yield from _description(phase.description)


def _description(text: str) -> Iterator[str]:
    """Yield the description as a fenced block, whose content Markdown leaves alone."""
    if not text:
        return
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield "- description:"
    yield ""
    yield f"  {fence}text"
    yield from (f"  {line}" for line in text.split("\n"))
    yield f"  {fence}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
