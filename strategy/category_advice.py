"""Categories of a plan that nothing knows: most are misspelt, and fall to the lax row of any other. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from strategy.config import ProjectConfig
from strategy.defaults import ALIASES, ANY_OTHER, GENERAL
from strategy.rules import normal_name, read_rules


def unfamiliar(
    categories: Iterable[str], ruleset: Mapping[str, Any], config: ProjectConfig | None = None
) -> list[str]:
    """Return what to know of each category that neither the ruleset, the table nor an agent names, once each."""
    rules = read_rules(ruleset)
    known = {*rules.rows, *rules.category_map, *ALIASES, GENERAL} - {ANY_OTHER}
    for rule in rules.conditional:
        known |= rule.categories or frozenset()
    for agent in (*config.builders, *config.auditors) if config else ():
        known |= {rules.canonical(name) for name in agent.categories}
    found = []
    for name in sorted({normal_name(category) for category in categories}):
        if name in known or rules.canonical(name) in known:
            continue
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        found.append(
            f"the category {name!r} is in neither the ruleset nor the table: taken as any other{meant}"
        )
    return found
