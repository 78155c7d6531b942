"""Category, complexity and builder mode of a phase that does not say: a table of words and paths.

Deterministic and explained. Where several rows match, the riskier wins, whether words or paths show it: a phase that
reads like docs and like security is treated as security. What the plan declares is never overruled here; the engine
only hardens it. A ruleset adds rows of its own and names words that mean nothing in its project (`classification`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from strategy.classify_table import (
    HARMLESS,
    HIGH_WORDS,
    MODE_BY_CATEGORY,
    PUBLISHED_ROWS,
    TWEAK_WORDS,
    TableRow,
    plain_words,
    words_pattern,
)
from strategy.defaults import COMPLEXITIES, GENERAL
from strategy.types import PhaseSpec

# From the riskiest on; None is a phase without a mode.
MODES: tuple[str | None, ...] = (
    "schema_heavy", "refactor_heavy", "scaffolding_heavy", None, "tweak_light"
)  # fmt: skip
OWN = "the ruleset's row"

RiskOf = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows in force, the riskiest first, and the words of the published rows that mean nothing here."""

    rows: tuple[TableRow, ...]
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Match:
    """What in a phase a row matched, in words."""

    row: TableRow
    shown_by: str


def read_table(given: Mapping[str, Any], canonical: Callable[[str], str], risk_of: RiskOf) -> Table:
    """Return the table of a ruleset's `classification`.

    Rows are ordered by the risk of their category (0 is the highest), the ruleset's own before published ones of the
    same risk, so that the first match is the riskiest. `canonical` folds a category's spellings.
    """
    own = tuple(
        TableRow(
            category=canonical(row["category"]) if "category" in row else None,
            words=tuple(row.get("words", ())),
            paths=tuple(row.get("paths", ())),
            complexity=row.get("complexity"),
            builder_mode=row.get("builder_mode"),
            number=number,
        )
        for number, row in enumerate(given.get("rows", ()), start=1)
    )
    ordered = sorted(
        (*own, *PUBLISHED_ROWS), key=lambda row: 0 if row.category is None else risk_of(row.category)
    )
    return Table(tuple(ordered), frozenset(plain_words(word) for word in given.get("ignored_words", ())))


def classify_category(phase: PhaseSpec, table: Table | None = None) -> tuple[str, str]:
    """Return the category that words and paths show, and why; the riskiest of those that match."""
    for match in _matches(phase, table, "category"):
        return str(match.row.category), f"category {match.row.category}: {match.shown_by}"
    return GENERAL, f"category {GENERAL}: no word or path of the table matches"


def classify_complexity(phase: PhaseSpec, row_complexity: str, table: Table | None = None) -> tuple[str, str]:
    """Return the category's complexity, raised by words that speak of large work and by own rows, and why."""
    found, why = row_complexity, "the category's"
    large = _pattern(HIGH_WORDS).search(plain_words(f"{phase.name} {phase.description}"))
    if large and found != "high":
        found, why = "high", f"the text says '{large.group(0)}'"
    for match in _matches(phase, table, "complexity"):
        wanted = match.row.complexity or found
        if COMPLEXITIES.index(wanted) > COMPLEXITIES.index(found):
            found, why = wanted, match.shown_by
    return found, f"complexity {found}: {why}"


def classify_mode(
    phase: PhaseSpec, category: str, complexity: str, table: Table | None = None
) -> tuple[str | None, str]:
    """Return the builder mode, or None where no mode's rules fit, and why. Of several the riskiest."""
    found, why = _published_mode(phase, category, complexity)
    wanted = list(_matches(phase, table, "builder_mode"))
    if wanted:
        first = min(wanted, key=lambda match: MODES.index(match.row.builder_mode))
        is_first_word = found is None and complexity == COMPLEXITIES[0]
        if is_first_word or MODES.index(first.row.builder_mode) < MODES.index(found):
            return first.row.builder_mode, f"mode {first.row.builder_mode}: {first.shown_by}"
    return found, why


def _published_mode(phase: PhaseSpec, category: str, complexity: str) -> tuple[str | None, str]:
    mode = MODE_BY_CATEGORY.get(category)
    if mode is not None and (mode != "scaffolding_heavy" or complexity != COMPLEXITIES[0]):
        return mode, f"mode {mode}: the category's"
    if complexity != COMPLEXITIES[0]:
        return None, "no mode: no rule of the table fits"
    found = _pattern(TWEAK_WORDS).search(plain_words(f"{phase.name} {phase.description}"))
    if found:
        return "tweak_light", f"mode tweak_light: low, and the text says '{found.group(0)}'"
    if 1 <= len(phase.scope) <= 2 and not any(_is_glob(path) for path in phase.scope):
        return "tweak_light", "mode tweak_light: low, and the scope is one or two files"
    return None, "no mode: no rule of the table fits"


def _matches(phase: PhaseSpec, table: Table | None, what: str) -> Iterator[Match]:
    """Yield the rows that say `what` and match a phase's text or scope, the riskiest first."""
    chosen = table or Table(PUBLISHED_ROWS)
    rows = [row for row in chosen.rows if getattr(row, what) is not None]
    words = plain_words(f"{phase.name} {phase.description}") if rows else ""
    for row in rows:
        said = next(
            (
                found.group(0)
                for found in _pattern(row.words).finditer(words)
                if row.number or found.group(0) not in chosen.ignored
            ),
            None,
        )
        end = f" ({OWN} {row.number})" if row.number else ""
        if said is not None:
            yield Match(row, f"the text says '{said}'{end}")
            continue
        hits = [path for path in phase.scope if any(fnmatchcase(path, glob) for glob in row.paths)]
        # A harmless category is shown only by a scope that lies wholly under its globs; else one path is enough.
        if hits and (row.category not in HARMLESS or len(hits) == len(phase.scope)):
            yield Match(row, f"the scope holds {hits[0]}{end}")


@lru_cache(maxsize=4096)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return words_pattern(words)


def _is_glob(path: str) -> bool:
    return path.endswith("/") or bool(set(path) & set("*?"))
