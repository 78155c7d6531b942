"""Markdown blocks -> drafts of tiers and phases: names, `key: value` fields, description."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from markdown_it.tree import SyntaxTreeNode

from autopack_site.kernel.errors import problem

PHASE_FIELDS = {
    "id": "id", "phase_id": "id", "category": "category", "task_category": "category",
    "complexity": "complexity", "mode": "mode", "builder_mode": "mode", "scope": "scope",
    "depends_on": "depends_on", "description": "description", "exact": "exact",
}  # fmt: skip
TIER_FIELDS = {
    "id": "id", "tier_id": "id", "description": "description", "phases": "phases", "exact": "exact"
}  # fmt: skip
# what an `exact` block may hold: texts that Markdown would not leave alone
EXACT_FIELDS = frozenset({"name", "description", "category", "mode"})
_LISTS = frozenset({"scope", "depends_on"})
_FIELD = re.compile(
    r"\s*(?:\*\*|__)?([A-Za-z][A-Za-z_ -]{1,30}?)(?:\*\*|__)?:(?:\*\*|__)?(?:\s+(.*)|\s*)$", re.DOTALL
)
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_CHECKBOX = re.compile(r"\[[ xX]\]\s+")
Section = tuple[SyntaxTreeNode, list[SyntaxTreeNode]]


@dataclass(slots=True)
class Draft:
    """A tier or phase while it is read: its fields with their lines (from 1)."""

    name: str
    line: int
    known: dict[str, str]
    faults: list[dict[str, Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    prose: list[str] = field(default_factory=list)
    phases: list[Draft] = field(default_factory=list)

    def set(self, key: str, value: Any, line: int) -> None:
        """Set a field once."""
        if key in self.fields:
            self.faults.append(fault("duplicate_field", line, f"{key} is given twice for {self.name[:80]!r}"))
            return
        self.fields[key] = value
        self.lines[key] = line

    @property
    def description(self) -> str:
        """Return the field, then the lines that are no field."""
        parts = (self.fields.get("description", ""), "\n".join(self.prose).strip())
        return self.exact("description", "\n".join(part for part in parts if part))

    def exact(self, key: str, otherwise: str) -> str:
        """Return what an `exact` block says of the key, else what the Markdown says."""
        found: str = self.fields.get("exact", {}).get(key, otherwise)
        return found


class Reader:
    """Turns Markdown blocks into drafts. Holds the source lines, for blocks that are kept as written.

    What is wrong is collected in `faults`, so that a document's faults are told together; with any of them the drafts
    are not the document's.
    """

    def __init__(self, source: list[str]) -> None:
        self._source = source
        self.faults: list[dict[str, Any]] = []

    def _wrong(self, kind: str, line: int, message: str) -> None:
        self.faults.append(fault(kind, line, message))

    def tier(self, heading: SyntaxTreeNode, blocks: list[SyntaxTreeNode]) -> Draft:
        tier = Draft(_heading_text(heading), line_of(heading), TIER_FIELDS, self.faults)
        levels = [level_of(block) for block in blocks if block.type == "heading"]
        if levels:
            before, sections = split_at(blocks, min(levels))
            self._absorb(tier, before)
            for sub_heading, content in sections:
                phase = Draft(_heading_text(sub_heading), line_of(sub_heading), PHASE_FIELDS, self.faults)
                self._absorb(phase, content)
                tier.phases.append(phase)
            return tier
        for block in blocks:
            if block.type in ("bullet_list", "ordered_list") and not _says_no_phases(block):
                tier.phases += [found for item in block.children if (found := self._item_phase(item))]
            else:
                self._absorb(tier, [block])
        return tier

    def _item_phase(self, item: SyntaxTreeNode) -> Draft | None:
        line = line_of(item)
        first = item.children[0] if item.children else None
        if first is None or first.type not in ("paragraph", "heading"):
            self._wrong("no_name", line, "a phase begins with its name")
            return None
        name = _CHECKBOX.sub("", _plain(first), count=1).split("\n")[0].strip()
        match = _FIELD.fullmatch(name)
        if match and _key(match.group(1)) in PHASE_FIELDS:
            text = f"{name[:80]!r} is a field where a phase's name is expected: indent it below its phase"
            self._wrong("misplaced_field", line, text)
            return None
        phase = Draft(" ".join(name.split()), line, PHASE_FIELDS, self.faults)
        self._lines(phase, _raw_lines(first)[1:], line_of(first) + 1)
        self._absorb(phase, item.children[1:])
        return phase

    def _absorb(self, draft: Draft, blocks: Iterable[SyntaxTreeNode]) -> None:
        """Read fields and description out of blocks."""
        for block in blocks:
            if block.type == "paragraph":
                self._lines(draft, _raw_lines(block), line_of(block))
            elif block.type in ("bullet_list", "ordered_list"):
                for item in block.children:
                    self._item_field(draft, item)
            elif block.type in ("fence", "code_block"):
                draft.prose.append(block.content.rstrip("\n"))
            elif block.type not in ("html_block", "hr"):
                draft.prose.append("\n".join(self._written(block)))

    def _item_field(self, draft: Draft, item: SyntaxTreeNode) -> None:
        first = item.children[0] if item.children else None
        if first is None or first.type != "paragraph":
            draft.prose.append("\n".join(self._written(item)))
            return
        lines = _raw_lines(first)
        found = self._field(draft, lines[0], line_of(first))
        rest = item.children[1:]
        if found is None:
            draft.prose.append("\n".join(self._written(item)))
            return
        key, value = found
        if not value and key in _LISTS and len(lines) == 1 and rest:
            draft.set(key, list(self._values(rest, key)), line_of(first))
        elif (
            not value
            and key == "description"
            and len(lines) == 1
            and len(rest) == 1
            and rest[0].type == "fence"
        ):
            draft.set(key, rest[0].content.removesuffix("\n"), line_of(first))
        elif key == "exact":
            self._set_exact(draft, value, rest, line_of(first))
        else:
            draft.set(key, _value(key, value), line_of(first))
            self._lines(draft, lines[1:], line_of(first) + 1)
            self._absorb(draft, rest)

    def _set_exact(self, draft: Draft, value: str, rest: list[SyntaxTreeNode], line: int) -> None:
        """Read the texts of an `exact` block, which stand in place of what the Markdown says."""
        is_block = not value and len(rest) == 1 and rest[0].type == "fence"
        try:
            draft.set("exact", _exact(rest[0].content) if is_block else _exact(value), line)
        except (ValueError, RecursionError):
            known = ", ".join(sorted(EXACT_FIELDS))
            self._wrong("bad_exact", line, f"exact takes a block with a JSON object of texts ({known})")

    def _values(self, blocks: Iterable[SyntaxTreeNode], key: str) -> Iterator[str]:
        """Yield the items of a field whose value is a nested list."""
        for block in blocks:
            if block.type not in ("bullet_list", "ordered_list"):
                self._wrong("bad_list", line_of(block), f"{key} takes a list here")
                continue
            for item in block.children:
                if len(item.children) != 1 or item.children[0].type != "paragraph":
                    self._wrong("bad_list", line_of(item), f"{key} takes one value an item")
                    continue
                yield _decoded(" ".join(_raw_lines(item.children[0])))

    def _lines(self, draft: Draft, lines: list[str], first_line: int) -> None:
        for offset, text in enumerate(lines):
            found = self._field(draft, text, first_line + offset)
            if found is None:
                draft.prose.append(_ESCAPE.sub(r"\1", text.strip()))
            elif found[0] == "exact":
                self._set_exact(draft, found[1], [], first_line + offset)
            else:
                draft.set(found[0], _value(*found), first_line + offset)

    def _field(self, draft: Draft, text: str, line: int) -> tuple[str, str] | None:
        """Return (field, value as written) of a `key: value` line, None for prose; refuse a mistyped key."""
        match = _FIELD.fullmatch(text)
        if match is None:
            return None
        key = _key(match.group(1))
        if key in draft.known:
            return draft.known[key], (match.group(2) or "").strip()
        if key in PHASE_FIELDS:
            self._wrong("misplaced_field", line, f"{key} is a field of phases, not of tiers")
            return None
        # Short keys are near to too many words of prose ("Model: ...").
        near = difflib.get_close_matches(
            key, [name for name in draft.known if len(name) > 4], n=1, cutoff=0.8
        )
        if near:
            self._wrong("unknown_field", line, f"unknown field {key!r}; did you mean {near[0]!r}?")
        return None

    def _written(self, node: SyntaxTreeNode) -> list[str]:
        start, end = node.map or (0, 0)
        return [line.strip() for line in self._source[start:end]]


def _says_no_phases(items: SyntaxTreeNode) -> bool:
    """Tell whether a list is the fields of a tier that holds no phase: one of them is `phases`."""
    firsts = (item.children[0] for item in items.children if item.children)
    found = (_FIELD.fullmatch(_raw_lines(first)[0]) for first in firsts if first.type == "paragraph")
    return any(match is not None and _key(match.group(1)) == "phases" for match in found)


def split_at(blocks: list[SyntaxTreeNode], level: int) -> tuple[list[SyntaxTreeNode], list[Section]]:
    before: list[SyntaxTreeNode] = []
    sections: list[Section] = []
    for block in blocks:
        if block.type == "heading" and level_of(block) == level:
            sections.append((block, []))
        elif sections:
            sections[-1][1].append(block)
        else:
            before.append(block)
    return before, sections


def level_of(heading: SyntaxTreeNode) -> int:
    return int(heading.tag[1:])


def line_of(node: SyntaxTreeNode) -> int:
    return (node.map[0] if node.map else 0) + 1


def _heading_text(heading: SyntaxTreeNode) -> str:
    return " ".join(_plain(heading).split())


def _raw_lines(block: SyntaxTreeNode) -> list[str]:
    """Return a paragraph's source lines: globs full of `*` must not be read as emphasis."""
    return block.children[0].content.split("\n") if block.children else [""]


def _plain(block: SyntaxTreeNode) -> str:
    """Return a paragraph's or heading's text without emphasis and code marks."""
    parts: list[str] = []
    for node in block.walk():
        if node.type in ("text", "code_inline"):
            parts.append(node.content)
        elif node.type in ("softbreak", "hardbreak"):
            parts.append("\n")
    return "".join(parts)


def _key(text: str) -> str:
    return re.sub(r"[ -]+", "_", text.strip().lower())


def _value(key: str, text: str) -> Any:
    """Return a field's value from the text after its colon: a list where the field is one."""
    if key not in _LISTS:
        return _decoded(text)
    if key == "depends_on" and text.strip().lower() in ("none", "[]"):
        return []
    parts = text.removeprefix("[").removesuffix("]") if key == "depends_on" else text
    return [value for value in (_decoded(part) for part in parts.split(",")) if value]


def _decoded(text: str) -> str:
    value = text.strip()
    if len(value) > 2 and value[0] == value[-1] == "`" and "`" not in value[1:-1]:
        return value[1:-1]
    return _ESCAPE.sub(r"\1", value)


def fault(kind: str, line: int, message: str) -> dict[str, Any]:
    """Return the row of a fault on a line of the document."""
    return problem(kind, ["body", "plan", line], f"line {line}: {message}")


def _exact(content: str) -> dict[str, str]:
    """Return the texts of an `exact` block. Raises ValueError."""
    value = json.loads(content)
    if not isinstance(value, dict) or not value.keys() <= EXACT_FIELDS:
        raise ValueError
    if not all(isinstance(text, str) for text in value.values()):
        raise ValueError
    return value
