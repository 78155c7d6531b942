"""The table of words and paths in force for a project, as people and programs read it."""

from __future__ import annotations

from typing import Any

from strategy.classify_table import HIGH_WORDS, MODE_BY_CATEGORY, TWEAK_WORDS
from strategy.models import Project
from strategy.rules import read_rules


def classification_of(project: Project) -> dict[str, Any]:
    """Return the rows in the order in which they are tried, the riskiest first, and what else is looked at."""
    document = project.ruleset.document if project.ruleset else {}
    table = read_rules(document).classification
    return {
        "project_id": project.project_id,
        "ruleset_version": document.get("version"),
        "rows": [
            {**row.to_json(), "of": f"the ruleset's row {row.number}" if row.number else "published"}
            for row in table.rows
        ],
        "ignored_words": sorted(table.ignored),
        "high_complexity_words": list(HIGH_WORDS),
        "light_tweak_words": list(TWEAK_WORDS),
        "mode_by_category": dict(MODE_BY_CATEGORY),
    }
