"""Issues that are resolved by what runs did: a cleanup phase by itself, all else by a run that has succeeded."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef

from issues.aging import Status
from issues.backlog import SYSTEM, lock_backlog, move, tell
from issues.coverage import Coverage
from issues.known import IssueName
from issues.models import BacklogEntry, RunIndexEntry
from issues.querysets import BacklogEntryQuerySet
from runs.lifecycle import PhaseState, RunState
from runs.models import Phase, Run

NOT_KEPT = "fix_not_kept"
_COLUMNS = ("pk", "status", "paths", "scopes")


@transaction.atomic
def end_cleanup(phase_pk: int) -> None:
    """Resolve the issues that a COMPLETE cleanup phase names and nobody has seen since its run started.

    The strategy froze their names; what they are called now counts. One that has come to name a file outside of the
    phase's scope is left, and so are all where the run has failed before. Safe to repeat.
    """
    phase = Phase.objects.select_related("run").filter(pk=phase_pk, state=PhaseState.COMPLETE).first()
    if phase is None or (phase.run.is_terminal and phase.run.state != RunState.DONE_SUCCESS):
        return
    lock_backlog(phase.run.project_id)
    rows = _unseen(phase.run).filter(issue_key__in=_called(phase.run, _named(phase))).values_list(*_COLUMNS)
    coverage = Coverage.of([phase.scope])
    cleaned = [(pk, status) for pk, status, paths, scopes in rows if coverage.holds(paths, scopes)]
    why = f"cleaned up by phase {phase.phase_id}, and not seen again"
    move(
        cleaned, "resolved", why=why, run_id=phase.run_id, phase_id=phase.phase_id, fixed_by=phase.commit_sha
    )


@transaction.atomic
def end_run(run_id: str) -> None:
    """Resolve open entries that a successful run covered and nobody has seen since it started.

    Covered is what lies in the scopes of its COMPLETE phases; a phase without a scope covers everything. The branch
    of a run that failed is not promoted: what its cleanup phases resolved stays so, and any sighting reopens it.
    Safe to repeat.
    """
    run = Run.objects.filter(pk=run_id).first()
    if run is None or not run.is_terminal:
        return
    if run.state != RunState.DONE_SUCCESS:
        _forget_fixes(run)
        return
    scopes = run.phases.filter(state=PhaseState.COMPLETE).values_list("scope", flat=True)
    coverage = Coverage.of(scopes)
    lock_backlog(run.project_id)
    rows = _unseen(run).values_list(*_COLUMNS)
    covered = [(pk, status) for pk, status, paths, scopes in rows if coverage.holds(paths, scopes)]
    why = "not seen again in a run that covered its scope"
    move(covered, "resolved", why=why, run_id=run_id, fixed_by=run.head_commit)


def _unseen(run: Run) -> BacklogEntryQuerySet:
    """Return the project's live entries that nobody has seen since the run started, by key. Needs the lock."""
    seen = RunIndexEntry.objects.filter(run=run, issue_key=OuterRef("issue_key"), expected_fail=False)
    rows = BacklogEntry.without_ages.live().filter(
        project=run.project_id, last_seen_at__lt=run.started_at or run.created_at
    )
    unseen: BacklogEntryQuerySet = rows.exclude(Exists(seen)).order_by("issue_key")
    return unseen


def _named(phase: Phase) -> list[str]:
    return [row["issue_key"] for row in phase.limits.get("cleans_up", ())]


def _called(run: Run, keys: list[str]) -> list[str]:
    """Return what the issues of these keys go by now. Needs the lock."""
    names = IssueName.objects.filter(project=run.project_id, kind=IssueName.KEY, name__in=keys)
    now = dict(names.values_list("name", "issue_key"))
    return sorted({now.get(key, key) for key in keys})


def _forget_fixes(run: Run) -> None:
    phases = [phase for phase in run.phases.filter(state=PhaseState.COMPLETE) if _named(phase)]
    if not phases:
        return
    lock_backlog(run.project_id)
    for phase in phases:
        fixed = BacklogEntry.without_ages.filter(
            project=run.project_id,
            issue_key__in=_called(run, _named(phase)),
            status=Status.RESOLVED,
            fixed_by=phase.commit_sha,
        ).exclude(fixed_by="")
        found = list(fixed.order_by("issue_key").values_list("pk", flat=True))
        BacklogEntry.without_ages.filter(pk__in=found).update(fixed_by="")
        why = f"run {run.run_id} ended {run.state}: its branch is not promoted, so any sighting reopens this"
        resolved = str(Status.RESOLVED)
        tell(
            [(pk, NOT_KEPT, resolved, resolved, why) for pk in found],
            who=SYSTEM, run_id=run.run_id, phase_id=phase.phase_id,
        )  # fmt: skip
