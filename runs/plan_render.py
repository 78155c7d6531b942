"""A plan as a Markdown document that `parse_plan_document` reads back, and as the JSON of a start request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from strategy.types import PhaseSpec, Plan

_SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")


def plan_to_json(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Return `tiers` and `phases` as a start request takes them; what the plan leaves open is left out."""
    return {
        "tiers": [
            _stated(
                tier_id=tier.tier_id,
                tier_index=tier.tier_index,
                name=tier.name,
                description=tier.description or None,
            )
            for tier in plan.tiers
        ],
        "phases": [
            _stated(
                phase_id=phase.phase_id,
                phase_index=phase.phase_index,
                tier_id=phase.tier_id,
                name=phase.name,
                description=phase.description or None,
                task_category=phase.task_category,
                complexity=phase.complexity,
                builder_mode=phase.builder_mode,
                scope=list(phase.scope) or None,
                depends_on=None if phase.depends_on is None else list(phase.depends_on),
            )
            for phase in plan.phases
        ],
    }


def numbered(plan: Plan) -> Plan:
    """Return the plan in document order with its indexes counted from 0: what reading its Markdown gives."""
    tiers = sorted(plan.tiers, key=lambda tier: (tier.tier_index, tier.tier_id))
    places = {tier.tier_id: place for place, tier in enumerate(tiers)}
    phases = sorted(plan.phases, key=lambda p: (places[p.tier_id], p.phase_index, p.phase_id))
    return Plan(
        tuple(replace(tier, tier_index=index) for index, tier in enumerate(tiers)),
        tuple(replace(phase, phase_index=index) for index, phase in enumerate(phases)),
    )


def plan_to_markdown(plan: Plan, *, title: str = "Plan") -> str:
    """Return the document, in index order.

    Reading it back gives the same plan, with indexes counted from 0 in document order (`numbered`). Texts that
    Markdown would not leave alone stand in an `exact` block. A phase without a tier is left out: check the plan
    first.
    """
    lines = [f"# {_escaped(title)}", ""]
    for tier in sorted(plan.tiers, key=lambda tier: (tier.tier_index, tier.tier_id)):
        phases = [phase for phase in plan.phases if phase.tier_id == tier.tier_id]
        lines += [f"## {_heading(tier.name, tier.tier_id)}", "", f"- id: {tier.tier_id}"]
        if not phases:
            lines.append("- phases: none")
        lines += [*_texts({"name": tier.name, "description": tier.description}), ""]
        for phase in sorted(phases, key=lambda phase: (phase.phase_index, phase.phase_id)):
            lines += [f"### {_heading(phase.name, phase.phase_id)}", "", *_fields(phase), ""]
    return "\n".join(lines)


def _fields(phase: PhaseSpec) -> Iterator[str]:
    yield f"- id: {phase.phase_id}"
    if phase.complexity is not None:
        yield f"- complexity: {phase.complexity}"
    if phase.scope:
        yield "- scope:"
        for glob in phase.scope:
            yield f"  - {_escaped(glob) if '`' in glob else f'`{glob}`'}"
    if phase.depends_on == ():
        yield "- depends_on: none"
    elif phase.depends_on is not None:
        yield "- depends_on:"
        yield from (f"  - {name}" for name in phase.depends_on)
    category, mode = phase.task_category or "", phase.builder_mode or ""
    yield from _texts(
        {"name": phase.name, "category": category, "mode": mode, "description": phase.description}
    )


def _texts(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield the fields that are texts, those that Markdown would change in one block."""
    exact = {key: text for key, text in texts.items() if not _is_plain(key, text)}
    for key in ("category", "mode"):
        if texts.get(key) and key not in exact:
            yield f"- {key}: {texts[key]}"
    if exact:
        yield from _block("exact", "json", json.dumps(exact, ensure_ascii=True))
    if "description" not in exact:
        yield from _description(texts["description"])


def _is_plain(key: str, text: str) -> bool:
    """Tell whether the text comes back from Markdown as it is."""
    if key == "description":
        return all(char == "\n" or char.isprintable() for char in text)
    if key == "mode" and text != text.lower():
        return False
    return text == " ".join(text.split())


def _heading(name: str, otherwise: str) -> str:
    """Return a name as a heading; blanks that a heading can't hold are folded."""
    return _escaped(" ".join(name.split()) or otherwise)


def _stated(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _description(text: str) -> Iterator[str]:
    """Yield the description as a fenced block, whose content Markdown leaves alone."""
    if not text:
        return
    yield from _block("description", "text", text)


def _block(key: str, kind: str, text: str) -> Iterator[str]:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"- {key}:"
    yield ""
    yield f"  {fence}{kind}"
    yield from (f"  {line}" for line in text.split("\n"))
    yield f"  {fence}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
