"""`comprehensive_plan.md` -> Plan: headings are tiers, list items or sub-headings phases.

```markdown
# Title (prose until the first tier is left alone)

## Foundations
id: foundations

- Modernise the syntax
  category: cross_cutting_refactor
  scope: src/**, tests/**
- Write the changelog
  - category: docs
  - depends_on: modernise-the-syntax
```

A tier that has sub-headings takes those as its phases, with fields in lines or list items below each; another
takes its top-level list items. Lines that are no field are description. Absent ids are made from the names.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from autopack_site.kernel.errors import Invalid, problem
from runs.plan_blocks import Draft, Reader, Section, fault, level_of, split_at
from runs.plan_checks import every_problem, plan_problems
from strategy.types import PhaseSpec, Plan, TierSpec

MAX_CHARS = 256 * 1024
MAX_LINES = 10_000
MAX_FAULTS = 100

# Links, images and entities are left as written: they mean nothing here, and are where parsers grow slow.
_INLINE_OFF = ["link", "image", "autolink", "html_inline", "entity"]
_OF_LOC = {"phase_id": "id", "tier_id": "id", "task_category": "category", "builder_mode": "mode"}


def parse_plan_document(text: str) -> Plan:
    """Return the checked plan in a Markdown document of at most 256 Ki characters and 10,000 lines.

    Raises Invalid with every fault; each row's `msg` begins with `line N:`, its `loc` is ["body", "plan", N].
    """
    return _checked(*_drafts(text))


def with_lines(text: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows on the plan of a document that was read without a fault, placed by line as its own faults are."""
    tiers, _faults = _drafts(text)
    drafts = {"tiers": tiers, "phases": [phase for tier in tiers for phase in tier.phases]}
    return [_with_line(row, drafts) for row in rows]


def _drafts(text: str) -> tuple[list[Draft], list[dict[str, Any]]]:
    """Read the document; return its tiers, and the faults of its form."""
    if len(text) > MAX_CHARS:
        raise Invalid([problem("too_large", ["body", "plan"], f"A plan has at most {MAX_CHARS} characters")])
    if text.count("\n") >= MAX_LINES:
        raise Invalid([problem("too_large", ["body", "plan"], f"A plan has at most {MAX_LINES} lines")])
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise Invalid(
            [problem("bad_text", ["body", "plan"], "A plan is text without NUL or half surrogates")]
        )
    source = _without_front_matter(text.removeprefix("\ufeff"))
    markdown = MarkdownIt("commonmark").disable(_INLINE_OFF)
    root = SyntaxTreeNode(markdown.parse(source))
    reader = Reader(source.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    tiers = [reader.tier(heading, blocks) for heading, blocks in _tier_sections(root.children)]
    faults = reader.faults
    if not tiers:
        text = "no heading: a tier is a heading, its phases are list items or sub-headings"
        faults.append(fault("no_tier", 1, text))
    for tier in tiers:
        if said := tier.fields.get("phases"):
            if said != "none" or tier.phases:
                text = "phases takes none, in a tier that holds no phase"
                faults.append(fault("bad_phases", tier.lines["phases"], text))
        elif not tier.phases and not faults:
            text = f"the tier {tier.name[:80]!r} holds no phase; prose belongs above the first tier"
            faults.append(fault("empty_tier", tier.line, text))
    return tiers, faults


def _checked(tiers: list[Draft], faults: list[dict[str, Any]]) -> Plan:
    tier_ids = _ids(tiers, "tier")
    drafts = [phase for tier in tiers for phase in tier.phases]
    phase_ids = iter(_ids(drafts, "phase"))
    phases: list[PhaseSpec] = []
    for tier, tier_id in zip(tiers, tier_ids, strict=True):
        for draft in tier.phases:
            phases.append(_phase(draft, next(phase_ids), tier_id, len(phases)))
    plan = Plan(
        tuple(
            TierSpec(tier_id, index, tier.exact("name", tier.name), tier.description)
            for index, (tier, tier_id) in enumerate(zip(tiers, tier_ids, strict=True))
        ),
        tuple(phases),
    )
    rows = plan_problems(plan) if faults else every_problem(plan)
    faults = faults + [_with_line(row, {"tiers": tiers, "phases": drafts}) for row in rows]
    if faults:
        raise Invalid(sorted(faults, key=lambda row: tuple(row["loc"][2:]))[:MAX_FAULTS])
    return plan


def _with_line(row: dict[str, Any], drafts: dict[str, list[Draft]]) -> dict[str, Any]:
    loc = row["loc"]
    if len(loc) < 3:
        return problem(row["type"], ["body", "plan", 1], f"line 1: {row['msg']}")
    draft = drafts[loc[1]][loc[2]]
    key = loc[3] if len(loc) > 3 else ""
    line = draft.lines.get(_OF_LOC.get(key, key), draft.line)
    return problem(row["type"], ["body", "plan", line], f"line {line}: {row['msg']}")


def _phase(draft: Draft, phase_id: str, tier_id: str, index: int) -> PhaseSpec:
    depends_on = draft.fields.get("depends_on")
    return PhaseSpec(
        phase_id=phase_id,
        tier_id=tier_id,
        phase_index=index,
        name=draft.exact("name", draft.name),
        description=draft.description,
        task_category=draft.exact("category", draft.fields.get("category", "")) or None,
        complexity=draft.fields.get("complexity", "").lower() or None,
        builder_mode=draft.exact("mode", draft.fields.get("mode", "").lower()) or None,
        scope=tuple(draft.fields.get("scope", ())),
        depends_on=None if depends_on is None else tuple(depends_on),
    )


def _ids(drafts: list[Draft], kind: str) -> list[str]:
    """Return each draft's id: the one it gives, else one made from its name, `-2` and so on when taken."""
    taken = {draft.fields["id"] for draft in drafts if draft.fields.get("id")}
    found: list[str] = []
    counts: dict[str, int] = {}  # where the search for a free number goes on
    for number, draft in enumerate(drafts, start=1):
        given = draft.fields.get("id")
        if given is None:
            wanted = slug(draft.name) or f"{kind}-{number}"
            given, count = wanted, counts.get(wanted, 2)
            while given in taken:
                given, count = f"{wanted}-{count}", count + 1
            counts[wanted] = count
            taken.add(given)
        found.append(given)
    return found


def slug(name: str) -> str:
    """Return name as a lower-case id of at most 60 characters; empty when it has no ASCII letter or digit."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-")


def _tier_sections(blocks: list[SyntaxTreeNode]) -> list[Section]:
    """Split at the tiers' level: the highest one, below a single leading title."""
    levels = [level_of(block) for block in blocks if block.type == "heading"]
    if not levels:
        return []
    has_title = len(levels) > 1 and levels[0] < min(levels[1:])
    level = min(levels[1:] if has_title else levels)
    return split_at(blocks, level)[1]


def _without_front_matter(text: str) -> str:
    """Blank a leading YAML block between `---` lines, keeping the count of lines."""
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return text
    for index, line in enumerate(lines[1:], start=1):
        if line.strip() in ("---", "..."):
            return "\n".join([""] * (index + 1) + lines[index + 1 :])
    return text
