"""Issues that are resolved by what runs did: a cleanup phase by itself, all else by a run that has succeeded."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef

from issues.aging import Status
from issues.backlog import SYSTEM, lock_backlog, move, tell
from issues.coverage import Coverage
from issues.known import IssueName
from issues.models import BacklogEntry, RunIndexEntry
from issues.querysets import BacklogEntryQuerySet
from issues.sweeps import renew_files
from runs import outbox
from runs.lifecycle import PhaseState, RunState
from runs.models import Outbox, Phase, Run
from runs.proofs import proofs_of

NOT_KEPT = "fix_not_kept"
TOPIC = "issues.closing"
BATCH = 500  # entries that are looked at, and resolved, in one transaction
_COLUMNS = ("pk", "status", "category", "paths", "scopes")


@transaction.atomic
def end_cleanup(phase_pk: int) -> None:
    """Resolve the issues that a COMPLETE cleanup phase names and nobody has seen since its run started.

    The strategy froze their names; what they are called now counts. One that has come to name a file outside of the
    phase's scope is left, and so are all where the phase's gate was waived, which shows nothing, or where the run
    has failed before. Safe to repeat.
    """
    phase = Phase.objects.select_related("run").filter(pk=phase_pk, state=PhaseState.COMPLETE).first()
    if phase is None or (phase.run.is_terminal and phase.run.state != RunState.DONE_SUCCESS):
        return
    proofs = [proof for proof in proofs_of(phase.run) if proof.phase_id == phase.phase_id]
    if not proofs:
        return
    lock_backlog(phase.run.project_id)
    rows = _unseen(phase.run).filter(issue_key__in=_called(phase.run, _named(phase))).values_list(*_COLUMNS)
    coverage = Coverage.of(proofs)
    cleaned = [(pk, status) for pk, status, *where in rows if coverage.holds(*where)]
    why = f"cleaned up by phase {phase.phase_id}, and not seen again"
    move(
        cleaned, "resolved", why=why, run_id=phase.run_id, phase_id=phase.phase_id, fixed_by=phase.commit_sha
    )


@transaction.atomic
def end_run(run_id: str) -> None:
    """Resolve open entries that a successful run covered and nobody has seen since it started.

    Covered is what the gates of its COMPLETE phases vouch for (`issues.coverage`). This transaction also holds the
    run's row, so it looks at the first BATCH entries; beyond them it records what `go_on` does. The branch of a run
    that failed is not promoted: what its cleanup phases resolved stays so, and any sighting reopens it. Safe to
    repeat.
    """
    run = Run.objects.filter(pk=run_id).first()
    if run is None or not run.is_terminal:
        return
    if run.state != RunState.DONE_SUCCESS:
        _forget_fixes(run)
        return
    proofs = proofs_of(run)
    if not proofs:
        return
    place = _close_batch(run, Coverage.of(proofs), after="")
    if place is not None:
        outbox.enqueue(TOPIC, run_id, run_id=run_id, after=place)


def go_on(run_id: str) -> None:
    """Resolve the rest of what a successful run covered, a batch after the other. What a message calls.

    Reporters get their turn between the batches. Where it has come to is kept with each batch, so that a worker that
    is killed loses none and repeats at most one; of two at once the later one leaves. What is seen until its batch
    stays open. The backlog's file is renewed in the end.
    """
    place = _place(run_id)
    if place is None:
        return
    run = Run.objects.select_related("project").filter(pk=run_id).first()
    if run is None:
        outbox.settle(TOPIC, run_id)
        return
    coverage = Coverage.of(proofs_of(run))
    while place is not None:
        with transaction.atomic():
            following = _close_batch(run, coverage, after=place)
            if following is not None and not _keep_place(run_id, place, following):
                return
        place = following
    with transaction.atomic():
        renew_files(run.project)
        outbox.settle(TOPIC, run_id)


def _close_batch(run: Run, coverage: Coverage, *, after: str) -> str | None:
    """Resolve what is to be of the BATCH live entries that follow a key; return the last key, None at the end.

    They are looked at without the backlog's lock, which is then taken if there is something to resolve, and
    whatever was seen or moved in between is left.
    """
    live = BacklogEntry.without_ages.live().filter(project=run.project_id, issue_key__gt=after)
    page = list(live.order_by("issue_key").values_list("issue_key", "last_seen_at", *_COLUMNS)[:BATCH])
    began = _began(run)
    found = [pk for _, seen_at, pk, _, *where in page if seen_at < began and coverage.holds(*where)]
    if found:
        lock_backlog(run.project_id)
        rows = _unseen(run).filter(pk__in=found).values_list(*_COLUMNS)
        covered = [(pk, status) for pk, status, *where in rows if coverage.holds(*where)]
        why = "not seen again in a run that covered its scope"
        move(covered, "resolved", why=why, run_id=run.run_id, fixed_by=run.head_commit)
    return page[-1][0] if len(page) == BATCH else None


def _reference(run_id: str, place: str) -> dict[str, str]:
    return {"run_id": run_id, "after": place}


def _place(run_id: str) -> str | None:
    """Return the key up to which a run's entries have been looked at; None where that is done."""
    row = Outbox.objects.filter(topic=TOPIC, key=run_id).values_list("reference", flat=True).first()
    return None if row is None else str(row["after"])


def _keep_place(run_id: str, before: str, place: str) -> bool:
    """Move the place; False when another worker has moved it, which then goes on."""
    mine = Outbox.objects.filter(topic=TOPIC, key=run_id, reference=_reference(run_id, before))
    return mine.update(reference=_reference(run_id, place)) == 1


def _began(run: Run) -> datetime:
    return run.started_at or run.created_at


def _unseen(run: Run) -> BacklogEntryQuerySet:
    """Return the project's live entries that nobody has seen since the run started, by key. Needs the lock."""
    seen = RunIndexEntry.objects.filter(run=run, issue_key=OuterRef("issue_key"), expected_fail=False)
    rows = BacklogEntry.without_ages.live().filter(project=run.project_id, last_seen_at__lt=_began(run))
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
