"""Issues in the shapes of API.md "File shapes": a phase's file, a run's index, a project's backlog."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from integration.artefacts.text import iso
from issues.models import BacklogEntry, Issue, RunIndexEntry
from issues.severity import MAJOR, MINOR
from runs.models import Phase
from strategy.models import Project

_ISSUE = (
    "issue_key", "severity", "effective_severity", "source", "category", "task_category", "complexity",
    "expected_fail", "occurrence_count", "first_seen_run", "last_seen_run", "evidence_refs",
)  # fmt: skip
_INDEX = (
    "category", "severity", "effective_severity", "first_phase_index", "last_phase_index", "occurrence_count",
    "seen_in_tiers", "seen_in_phases",
)  # fmt: skip
_BACKLOG = (
    "category", "base_severity", "age_in_runs", "age_in_tiers", "first_seen_run_id", "last_seen_run_id",
    "last_seen_at", "seen_in_tiers", "status",
)  # fmt: skip


def of_run(
    run_id: str, phases: Iterable[Phase], tier_ids: dict[int, str]
) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """Return (phase primary key -> phase file, run index). Two queries; issues in key order.

    `tier_ids` maps a tier's primary key to its id.
    """
    by_phase: dict[int, list[dict[str, Any]]] = {}
    issues = Issue.objects.filter(phase__run_id=run_id).order_by("phase_id", "issue_key")
    for phase_pk, *values in issues.values_list("phase_id", *_ISSUE):
        by_phase.setdefault(phase_pk, []).append(dict(zip(_ISSUE, values, strict=True)))
    files = {
        phase.pk: {
            "phase_id": phase.phase_id,
            "tier_id": tier_ids[phase.tier_id],
            "issues": by_phase.get(phase.pk, []),
            "minor_issue_count": phase.minor_issues_count,
            "major_issue_count": phase.major_issues_count,
            "issue_state": issue_state(phase),
        }
        for phase in phases
    }
    entries = RunIndexEntry.objects.filter(run_id=run_id).order_by("issue_key")
    index = {
        key: dict(zip(_INDEX, values, strict=True)) for key, *values in entries.values_list("issue_key", *_INDEX)
    }
    return files, {"run_id": run_id, "issues_by_key": index}


def issue_state(phase: Phase) -> str:
    """Return the phase's issue state by its counts of distinct keys."""
    if phase.major_issues_count:
        return f"has_{MAJOR}_issues"
    return f"has_{MINOR}_issues" if phase.minor_issues_count else "no_issues"


def backlog(project: Project) -> dict[str, Any]:
    """Return the project's backlog, resolved entries too, in key order. One query."""
    entries = BacklogEntry.objects.filter(project=project).order_by("issue_key")
    by_key: dict[str, dict[str, Any]] = {}
    for key, *values in entries.values_list("issue_key", *_BACKLOG):
        entry = dict(zip(_BACKLOG, values, strict=True))
        entry["last_seen_at"] = iso(entry["last_seen_at"])
        by_key[key] = entry
    return {"project_id": project.project_id, "issues_by_key": by_key}
