"""An entry of a backlog as the routes and exports show it: a row of a list, and the page of one."""

from __future__ import annotations

from typing import Any

from autopack_site.kernel import clock
from issues.groups import group_of, name_shape, names_of_entry, voters
from issues.known import IssueName
from issues.models import BacklogEntry, BacklogEvent, Issue

Shape = dict[str, Any]
MAX_LISTED_PATHS = 5
MAX_SIGHTINGS = 20
SEARCHED_RUNS = 10


def row_shape(entry: BacklogEntry) -> Shape:
    """Return an entry as lists show it, with the first of its files. It has its votes (`search.with_votes`)."""
    return {
        "id": entry.pk,
        "issue_key": entry.issue_key,
        "category": entry.category,
        "base_severity": entry.base_severity,
        "effective_severity": entry.effective_severity,
        "status": str(entry.status),
        "accepted_until": clock.stamp(entry.accepted_until),
        "age_in_runs": entry.age_in_runs,
        "age_in_tiers": entry.age_in_tiers,
        "occurrence_count": entry.occurrence_count,
        "first_seen_run_id": entry.first_seen_run_id,
        "last_seen_run_id": entry.last_seen_run_id,
        "first_seen_at": clock.stamp(entry.first_seen_at),
        "last_seen_at": clock.stamp(entry.last_seen_at),
        "opened_at": clock.stamp(entry.opened_at),
        "paths": entry.paths[:MAX_LISTED_PATHS],
        "votes": entry.vote_count,  # type: ignore[attr-defined]  # annotated
    }


def entry_shape(entry: BacklogEntry) -> Shape:
    """Return all that is known of an entry but its events, with the newest sightings. Five queries."""
    names = names_of_entry(entry)
    return {
        **row_shape(entry),
        "merged_into": entry.merged_into_id,
        "fixed_by": entry.fixed_by,
        "names": [name_shape(row) for row in names],
        "reporters": voters(entry),
        "group": group_of(entry, names),
        "project_id": entry.project.project_id,
        "paths": entry.paths,
        "scopes": entry.scopes,
        "seen_in_runs": entry.seen_in_runs,
        "seen_in_tiers": entry.seen_in_tiers,
        "sightings": [sighting_shape(issue) for issue in sightings(entry, names)],
    }


def sightings(entry: BacklogEntry, names: list[IssueName]) -> list[Issue]:
    """Return what phases of the last runs that saw the entry hold of it, the newest first.

    `names` are the entry's, its own key first. Looked for are the last ten runs, phase by phase along the phases' own
    keys, so that it costs as much for an issue that ten thousand phases saw. The rows of runs that have ended stand
    under the key that the issue went by then: of these, up to 50 are known (`former`).
    """
    runs = entry.seen_in_runs[-SEARCHED_RUNS:]
    keys = {
        entry.issue_key,
        *(former for row in names if row.name == entry.issue_key for former in row.former),
    }
    seen = Issue.objects.filter(
        phase__run__in=runs, phase__run__project=entry.project_id, issue_key__in=sorted(keys)
    )
    return list(seen.select_related("phase").only(*_SIGHTING).order_by("-id")[:MAX_SIGHTINGS])


_SIGHTING = (
    "issue_key", "severity", "effective_severity", "source", "task_category", "complexity", "expected_fail",
    "occurrence_count", "last_seen_at", "reporters", "evidence_refs", "description", "phase__phase_id",
    "phase__run_id",
)  # fmt: skip


def sighting_shape(issue: Issue) -> Shape:
    """Return what a phase saw of an entry: the evidence, and who brought it."""
    return {
        "run_id": issue.phase.run_id,
        "phase_id": issue.phase.phase_id,
        "issue_key": issue.issue_key,
        "severity": issue.severity,
        "effective_severity": issue.effective_severity,
        "source": issue.source,
        "reporters": issue.reporters,
        "occurrence_count": issue.occurrence_count,
        "last_seen_at": clock.stamp(issue.last_seen_at),
        "description": issue.description,
        "evidence_refs": issue.evidence_refs,
    }


def event_shape(event: BacklogEvent) -> Shape:
    """Return one step of an entry's life."""
    return {
        "id": event.pk,
        "event": event.event,
        "from_status": event.from_status,
        "to_status": event.to_status,
        "who": event.who,
        "why": event.why,
        "run_id": event.run_id,
        "phase_id": event.phase_id,
        "until": clock.stamp(event.until),
        "at": clock.stamp(event.at),
        "correlation_id": event.correlation_id,
    }
