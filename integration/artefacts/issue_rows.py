"""A run's issues in API.md's shapes, all phases in one query: the routes' own shapes, so files and answers agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from issues.models import Issue
from issues.shapes import phase_file_shape
from runs.models import Phase


def phase_files(run_id: str, phases: Iterable[Phase]) -> dict[int, dict[str, Any]]:
    """Return phase primary key -> phase file, issues in key order. One query; `phase.tier` must be loaded."""
    by_phase: dict[int, list[Issue]] = {}
    issues = Issue.objects.filter(phase__run_id=run_id).defer("description", "reporters")
    for issue in issues.order_by("phase_id", "issue_key"):
        by_phase.setdefault(issue.phase_id, []).append(issue)
    return {phase.pk: phase_file_shape(phase, by_phase.get(phase.pk, [])) for phase in phases}
