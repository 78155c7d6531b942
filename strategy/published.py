"""The published defaults, kept by name: what a ruleset that names them and says nothing else gets.

A name's table never changes: changed defaults are a new file with a new name, so that an old ruleset keeps the ones
it names. A test pins each file's hash.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA_DIR = Path(__file__).resolve().parent / "data"
FIRST = "2026-11"
"""What a ruleset without a name means: it was stored before defaults had names."""
PRESENT = "2026-11"
"""What is written into a ruleset that names none when it is stored."""
NAMES: tuple[str, ...] = ("2026-11",)


@dataclass(frozen=True, slots=True)
class Published:
    """One set of defaults. `ruleset` is what a ruleset may say itself, the rest are the engine's own numbers.

    `hardening` bounds a row of high risk, `tweak_light` a phase of that mode; callers must change none of them.
    """

    name: str
    ruleset: dict[str, Any]
    hardening: dict[str, Any]
    tweak_light: dict[str, Any]
    safety_critical_minor_multiplier: int
    run_minor_issues_per_phase: int
    debt_max_paths: int
    auditor_profile_order: tuple[str, ...]

    @property
    def risky(self) -> frozenset[str]:
        """Return the categories whose published row is already one of high risk."""
        rows = self.ruleset["category_defaults"]
        return frozenset(name for name, row in rows.items() if row["default_severity"] == "major")

    def part(self, name: str) -> Any:
        """Return a fresh copy of one part of the ruleset."""
        return copy.deepcopy(self.ruleset[name])


def file_of(name: str) -> Path:
    """Return the file that holds the defaults of a name."""
    return DATA_DIR / f"defaults_{name}.json"


@cache
def published(name: str) -> Published:
    """Return the defaults of a name. Raises KeyError for one that was never published."""
    if name not in NAMES:
        raise KeyError(name)
    text = file_of(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    loaded["auditor_profile_order"] = tuple(loaded["auditor_profile_order"])
    return Published(name=name, **loaded)


def published_by(ruleset: Any) -> Published:
    """Return the defaults that a ruleset document names; the first ones where it names none."""
    return published(ruleset.get("defaults", FIRST))
