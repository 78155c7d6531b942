"""Aged entries are marked a batch at a time: each batch one statement, found by an index and told as events."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from autopack_site.kernel import clock
from autopack_site.kernel.problem import correlation_id
from autopack_site.kernel.statements import Statement
from issues.aging import AGEABLE_STATUSES, Status
from issues.models import BacklogEntry, BacklogEvent, BacklogTally
from issues.severity import MAJOR

log = structlog.get_logger(__name__)
_LAST_ID = 2**63 - 1
_ENTRIES, _EVENTS = BacklogEntry._meta.db_table, BacklogEvent._meta.db_table
# The place is where the batch before ended. Beginning anew each time would go over all that was just marked: the
# index holds it until no transaction can see it as it was.
_MARK = """
WITH due AS (
    SELECT id, {offset} AS level, status FROM {entries}
    WHERE project_id = %(project)s AND status IN ({ageable}) AND ({offset}, id) > (%(level)s, %(id)s)
    ORDER BY {offset}, id LIMIT %(size)s
), marked AS (
    UPDATE {entries} AS entry SET status = '{aged}', effective_severity = '{major}'
    FROM due WHERE entry.id = due.id RETURNING entry.id, entry.issue_key, due.status AS before
), told AS (
    INSERT INTO {events} (entry_id, event, from_status, to_status, who, why, run_id, correlation_id, at)
    SELECT id, 'aged', before, '{aged}', %(who)s, %(why)s, %(run)s, %(correlation)s, %(now)s
    FROM marked ORDER BY issue_key COLLATE "C"
)
SELECT level, id, count(*) OVER () FROM due ORDER BY level DESC, id DESC LIMIT 1
"""
_mark = {
    counter: Statement(
        _MARK.format(
            offset=f"{counter}_offset",
            entries=_ENTRIES,
            events=_EVENTS,
            aged=Status.NEEDS_CLEANUP,
            major=MAJOR,
            # texts, not parameters: the partial index is chosen by them
            ageable=", ".join(f"'{status}'" for status in AGEABLE_STATUSES),
        ),
        label=f"mark_{counter}",
    )
    for counter in ("runs", "tiers")
}


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch marked, and the place (offset, id) where it ended."""

    marked: int
    place: tuple[int, int] | None


def mark_batch(
    tally: BacklogTally,
    counter: str,
    threshold: int,
    *,
    why: str,
    size: int,
    run_id: str = "",
    place: tuple[int, int] | None = None,
) -> Batch:
    """Mark up to `size` entries whose age by the counter has reached the threshold. Needs the backlog's lock.

    A batch that marks fewer is the last. `place` goes on where another batch ended.
    """
    level, last_id = place or (threshold - getattr(tally, counter) - 1, _LAST_ID)
    values = {
        "project": tally.project_id,
        "level": level,
        "id": last_id,
        "size": size,
        "who": "autopack",
        "why": why,
        "run": run_id,
        "correlation": correlation_id() or "",
        "now": clock.now(),
    }
    found = _mark[counter](values)
    if not found:
        return Batch(0, None)
    [(level, last_id, marked)] = found
    log.info("backlog.aged", entries=marked, run_id=run_id)
    return Batch(marked, (level, last_id))
