"""The words that rules are written in, and the ruleset that a new project begins with.

The published numbers lie in `strategy.published`, by name.
"""

from __future__ import annotations

from typing import Any

from strategy.published import PRESENT, published

ANY_OTHER = "*"
"""The row's name for a category that no row names."""

GENERAL = "general"
"""The category of a phase that no rule classifies; it has the row of any other."""

CATEGORIES: tuple[str, ...] = (
    "cross_cutting_refactor", "index_registry_change", "schema_contract_change", "bulk_multi_file_operation",
    "security_auth_change", "external_feature_reuse", "external_code_intake", "feature_scaffolding", "docs", "tests",
    "debt_cleanup", ANY_OTHER,
)  # fmt: skip
"""The rows of every published table."""

ALIASES: dict[str, str] = {
    "index_registry_maintenance": "index_registry_change",
    "schema_change": "schema_contract_change",
    "bulk_operation": "bulk_multi_file_operation",
    "security_auth": "security_auth_change",
}

AUDITOR_PROFILE_ALIASES: dict[str, str] = {"orchestrator_review": "refactor_review"}
GENERAL_REVIEW = "general_review"

COMPLEXITIES: tuple[str, ...] = ("low", "medium", "high")
SAFETY_PROFILES: tuple[str, ...] = ("normal", "safety_critical")
RUN_SCOPES: tuple[str, ...] = ("multi_tier", "single_tier")
RUN_SCOPE_ALIASES: dict[str, str] = {"incremental": "multi_tier"}


def default_ruleset(project_id: str) -> dict[str, Any]:
    """Return version 1 of a project's ruleset: every present default, written out to be read and edited."""
    present = published(PRESENT)
    parts = {name: present.part(name) for name in present.ruleset}
    return {"version": 1, "project_id": project_id, "defaults": PRESENT, **parts}
