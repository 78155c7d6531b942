"""The governed apply, second half: a green candidate moves the run's branch.

Git and the database don't commit together: the intent is recorded, `git update-ref REF new old` moves the
branch, the move is marked. Whatever happens between, `carry_out` brings it to the one right end (ENGINE).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import structlog
from django.conf import settings

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError
from autopack_site.kernel.prepared import Prepared
from integration import crash
from integration.git_errors import RefMoved
from integration.mirror import Mirror
from integration.models import GitIntent
from integration.refs import branch_ref, tag_ref
from integration.repository import mirror_of
from integration.storage import storage_faults
from runs import outbox, rows, services
from runs.agents import config_of
from runs.lifecycle import AttemptState
from runs.models import Attempt, Run
from runs.supervisor import locked_run

log = structlog.get_logger(__name__)
PUSH_TRIES = 6
_intent = Prepared[GitIntent](lambda intent_id: GitIntent.objects.filter(pk=intent_id))


def merge(attempt_id: str) -> None:
    """Move the branch to a green candidate, if it may move now. Safe to repeat and to race."""
    attempt = rows.attempt_by_id.first(attempt_id)
    if attempt is None:
        return
    intent = _plan(attempt.run_id, attempt_id)
    if intent is None:
        crash.line("merge-put-off")
        return
    crash.line("intent-recorded")
    carry_out(intent)


def _plan(run_id: str, attempt_id: str) -> GitIntent | None:
    """Record the intent under the run's lock; None when there is nothing to move now."""
    with locked_run(run_id) as run:
        pending = GitIntent.objects.open().filter(run=run).first()
        if pending is not None:
            return None  # its end wakes the next merge of this run
        plan = services.begin_merge(attempt_id)
        if plan is None:
            return None
        return GitIntent.objects.create(
            run=run,
            attempt_id=plan.attempt_id,
            ref=branch_ref(run.run_id),
            tag_ref=tag_ref(run.run_id, plan.phase_id),
            old_sha=plan.old,
            new_sha=plan.new,
            due_at=clock.database_now() + timedelta(seconds=settings.LEASE_TTL_S),
            created_at=clock.now(),
        )


def carry_out(intent: GitIntent) -> None:
    """Bring a recorded move to its end: done, or given up and taken back. Any number may call it.

    `intent.due_at`, as the caller knows it, is its fence: whoever takes the move over changes it, and only
    the last to do so may give the move up.
    """
    run = rows.run_with_project.first(intent.run_id)
    if run is None:
        return  # gone, and its intents with it
    mirror = mirror_of(run.project)
    if config_of(run).protects_branch(intent.ref):
        _give_up(intent, f"{intent.ref} is protected")
        return
    if not _is_open(intent):
        return
    try:
        with storage_faults("The mirror's branch could not be moved"):
            _move_branch(mirror, intent)
            crash.line("branch-moved")
            _make_tag(mirror, intent)
            crash.line("tag-made")
    except RefMoved as error:
        _give_up(intent, error.detail)
        return
    except AutopackError as error:
        _failed(mirror, run, intent, error, half="move")
        return
    if not _is_open(intent):
        return
    try:
        with storage_faults("The branch could not be pushed"):
            mirror.push(run.project.source, _pushed(intent))
    except AutopackError as error:
        _failed(mirror, run, intent, error, half="push")
        return
    crash.line("pushed")
    _mark_done(intent)
    crash.line("merge-recorded")


def _is_open(intent: GitIntent) -> bool:
    """Tell whether the move is still to be made: a worker that was away for long may find it decided."""
    now = _intent.first(intent.pk)
    return now is not None and now.state == GitIntent.State.PLANNED


def _pushed(intent: GitIntent) -> list[tuple[str, str]]:
    return [(intent.new_sha, intent.ref), (intent.new_sha, intent.tag_ref)]


def _move_branch(mirror: Mirror, intent: GitIntent) -> None:
    """Compare and swap. A ref that is at the new commit, or past it, was moved by an earlier try.

    One that is at the commit of a move that was given up is as good as at the old one: its worker died before
    it took that back.
    """
    try:
        mirror.update_ref(intent.ref, intent.new_sha, intent.old_sha)
    except RefMoved as error:
        current = error.current
        if current is None:
            raise
        if current == intent.new_sha or mirror.is_ancestor(intent.new_sha, current):
            return
        given_up = GitIntent.objects.filter(
            run=intent.run_id, state=GitIntent.State.CONFLICT, old_sha=intent.old_sha, new_sha=current
        )
        if not given_up.exists():
            raise
        mirror.update_ref(intent.ref, intent.new_sha, current)


def _make_tag(mirror: Mirror, intent: GitIntent) -> None:
    try:
        mirror.update_ref(intent.tag_ref, intent.new_sha, None)
    except RefMoved as error:
        if error.current != intent.new_sha:
            raise


def _mark_done(intent: GitIntent) -> None:
    with locked_run(intent.run_id):
        rows = GitIntent.objects.filter(pk=intent.pk, state=GitIntent.State.PLANNED).update(
            state=GitIntent.State.DONE, ended_at=clock.now()
        )
        if rows != 1:
            return  # another worker was first
        services.finish_merge(intent.attempt_id, new_head=intent.new_sha, tag=intent.tag_ref)
        _wake_next(intent.run_id)


def _wake_next(run_id: str) -> None:
    """Other green candidates of the run waited for this move: it is their turn to look."""
    waiting = Attempt.objects.filter(run_id=run_id, state=AttemptState.GREEN)
    for attempt_id in waiting.values_list("pk", flat=True):
        outbox.nudge("candidate.merge", attempt_id)


def _give_up(intent: GitIntent, reason: str, *, code: str = "branch-conflict") -> None:
    """End the move without it: first in the database, which decides, then in the mirror."""
    with locked_run(intent.run_id):
        rows = GitIntent.objects.filter(
            pk=intent.pk, state=GitIntent.State.PLANNED, due_at=intent.due_at
        ).update(state=GitIntent.State.CONFLICT, reason=reason, ended_at=clock.now())
        if rows != 1:
            return  # decided, or taken over
        log.error("merge.given_up", run_id=intent.run_id, ref=intent.ref, reason=reason)
        services.conflict_merge(intent.attempt_id, code=code, reason=reason)
        outbox.enqueue("move.undo", intent.pk, intent_id=intent.pk)
        _wake_next(intent.run_id)
    crash.line("move-given-up")
    try:
        undo(intent.pk)
    except (AutopackError, OSError) as error:  # decided all the same; its message is sent again
        log.warning("merge.not_undone", run_id=intent.run_id, error=type(error).__name__)


def undo(intent_id: str) -> None:
    """Take the mirror's refs back to before a move that was given up. Safe to repeat, at any later time."""
    intent = GitIntent.objects.select_related("run__project").get(pk=intent_id)
    if intent.state == GitIntent.State.CONFLICT:
        mirror = mirror_of(intent.run.project)
        if not mirror.exists():  # its refs went with it
            outbox.settle("move.undo", intent_id)
            return
        with suppress(RefMoved):  # never moved, or the next move has gone on from it
            mirror.update_ref(intent.ref, intent.old_sha, intent.new_sha)
        with suppress(RefMoved):
            mirror.delete_ref(intent.tag_ref, intent.new_sha)
    outbox.settle("move.undo", intent_id)


def _failed(mirror: Mirror, run: Run, intent: GitIntent, error: AutopackError, *, half: str) -> None:
    """Try again later; after the last try give the move up, since nobody saw it.

    In the mirror (`half` is `move`) every fault is tried again: what is broken there may be mended. The project's
    repository (`push`) may have said no for good.
    """
    tries = intent.tries + 1
    log.warning("merge.failed", half=half, run_id=intent.run_id, code=error.code, tries=tries)
    if (half == "move" or error.retryable) and tries < PUSH_TRIES:
        wait_s = settings.GATE_BACKOFF_S * 2 ** (tries - 1)
        GitIntent.objects.filter(pk=intent.pk, state=GitIntent.State.PLANNED, due_at=intent.due_at).update(
            tries=tries,
            reason=error.detail,
            due_at=clock.database_now() + timedelta(seconds=wait_s),
        )
        return
    if _has_arrived(mirror, run, intent):
        _mark_done(intent)  # the push arrived, and its answer did not
    elif half == "push":
        _give_up(intent, f"The project's repository did not take the branch: {error.detail}")
    else:
        _give_up(intent, f"The branch could not be moved: {error.detail}", code=error.code)


def _has_arrived(mirror: Mirror, run: Run, intent: GitIntent) -> bool:
    try:
        return mirror.has_pushed(run.project.source, _pushed(intent))
    except OSError:
        return False


def recover(limit: int = 100) -> int:
    """Carry out what a worker left half done; return how many intents were looked at. The sweep's.

    A move that fails is left for a later sweep, and keeps none of the others waiting.
    """
    now = clock.database_now()
    due = list(GitIntent.objects.due(now).order_by("due_at")[:limit])
    for intent in due:
        known, intent.due_at = intent.due_at, now + timedelta(seconds=settings.LEASE_TTL_S)
        mine = GitIntent.objects.filter(pk=intent.pk, due_at=known).update(due_at=intent.due_at)
        if not mine:
            continue
        try:
            carry_out(intent)
        except (AutopackError, OSError) as error:
            log.warning("merge.not_carried_out", intent=intent.pk, error=type(error).__name__)
    return len(due)
