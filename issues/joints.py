"""How many issues the reports of one phase may make one, and what is told of it.

A report that brings the key of one issue and the place of another makes the two one, and so lowers the counts that
caps are judged by. Who reports is judged by these caps, so a phase has a bound. Beyond it the report goes by its key,
the two stay two, and both histories and the run's timeline tell of it: a person may merge them.
"""

from __future__ import annotations

from django.conf import settings

from issues.backlog import tell
from issues.joining import MAX_TOLD, Told, join_entries
from issues.models import BacklogEntry, BacklogEvent, BacklogTally
from issues.naming import Named
from runs.models import Phase, Run
from runs.transitions import note

REFUSED = "joint_refused"


def joints_left(phase: Phase) -> int:
    """Return how many known issues the phase's reports may still make one. Needs the run's lock."""
    made = BacklogEvent.objects.filter(run_id=phase.run_id, phase_id=phase.phase_id, event="absorbed").count()
    return max(settings.MAX_JOINTS_PER_PHASE - made, 0)


def settle_joints(phase: Phase, named: Named, tally: BacklogTally, *, who: str) -> None:
    """Let entries become one or go by another key, as their names have; tell that, and what was refused.

    Needs the backlog's lock.
    """
    run, phase_id = phase.run, phase.phase_id
    told = join_entries(run.project_id, named.renamed, tally) if named.renamed else []
    refused = _refused(run, phase_id, named.refused) if named.refused else []
    tell([*told, *refused], who=who, run_id=run.run_id, phase_id=phase_id)
    if refused:
        note(
            run,
            "joints_refused",
            who=who,
            why=f"phase {phase_id} may make no more issues one: a person may merge them",
            data={"phase_id": phase_id, "pairs": [list(pair) for pair in named.refused[:MAX_TOLD]]},
        )


def _refused(run: Run, phase_id: str, pairs: list[tuple[str, str]]) -> list[Told]:
    """Return what both entries of each pair are told, each pair once a phase."""
    keys = sorted({key for pair in pairs for key in pair})
    found = BacklogEntry.without_ages.filter(project=run.project_id, issue_key__in=keys)
    entries = {entry.issue_key: entry for entry in found.only("issue_key", "status")}
    before = set(
        BacklogEvent.objects.filter(
            entry__in=entries.values(), event=REFUSED, run_id=run.run_id, phase_id=phase_id
        ).values_list("entry_id", "why")
    )
    told: dict[tuple[int, str], Told] = {}
    for one, other in pairs:
        if one not in entries or other not in entries:
            continue  # seen as expected failures only, which count nowhere
        for entry, another in ((entries[one], other), (entries[other], one)):
            status = str(entry.status)
            why = f"reported to be one issue with {another}, but its phase may make no more issues one: merge them?"
            told[entry.pk, why] = (entry.pk, REFUSED, status, status, why)
    return [told[key] for key in sorted(told) if key not in before]
