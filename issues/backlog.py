"""A project's memory: entries opened and reopened by reports, aged by runs and tiers, resolved by coverage.

All writers of one backlog take its lock first: that of its tally's row. Ordering row locks by key is not enough:
a transaction may record one issue and then, in the supervisor's next move, mark others, and two such
transactions of two runs would wait for each other. Within a transaction the lock comes after the run's row lock
and before counters and outbox rows.

A run or tier ages all open entries by adding one to the tally (`BacklogTally`), whatever their number. What then
has reached a threshold is marked in batches, a bounded number at the start itself and the rest by the sweep:
the strategy and reports go by the ages, so that they don't wait for the mark.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, QuerySet

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import Prepared, PreparedInsert, PreparedRows
from autopack_site.kernel.problem import correlation_id
from autopack_site.kernel.statements import Statement
from issues.aging import OPENED, Status, Thresholds, after, project_thresholds
from issues.categories import riskier
from issues.evidence import MAX_NAMES, MAX_PATHS, joined, latest, paths_in
from issues.marking import mark_batch
from issues.models import BacklogAging, BacklogEntry, BacklogEvent, BacklogTally, ages_kept
from issues.rules import rules_of
from issues.severity import worst
from issues.sightings import ask_later, base_of
from runs import rows
from runs.models import Phase, Run, Tier
from runs.ports import IssueReport
from strategy.backlog import MOST_SEEN
from strategy.models import Project, Ruleset
from strategy.types import BacklogItem

log = structlog.get_logger(__name__)
SYSTEM = "autopack"
MAX_MARKED_AT_START = 1000  # of each threshold; the sweep marks the rest
MAX_LAPSED = 500  # acceptances that one transaction ends; the sweep ends the rest
MAX_ITEMS = MOST_SEEN  # a strategy counts no more; the oldest first
_put_entries = PreparedInsert(BacklogEntry, unique=["project", "issue_key"])
_put_events = PreparedInsert(BacklogEvent)
_tally = Prepared[BacklogTally](
    lambda project_pk: BacklogTally.objects.select_for_update(no_key=True).filter(project=project_pk)
)
_tally_seen = Prepared[BacklogTally](lambda project_pk: BacklogTally.objects.filter(project=project_pk))
_ruleset = PreparedRows(
    lambda project_pk: Project.objects.filter(pk=project_pk).values_list("ruleset__sha256")
)
_note_aging = Statement(
    "INSERT INTO issues_backlogaging (project_id, run_id, tier_id, at) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT (project_id, run_id, tier_id) DO NOTHING RETURNING id",
    label="note_aging",
)
_count = {
    counter: Statement(
        f"UPDATE issues_backlogtally SET {counter} = {counter} + 1 WHERE project_id = %s",  # noqa: S608 (a column)
        label=f"count_{counter}",
    )
    for counter in ("runs", "tiers")
}


def oldest_rows(project_pk: int) -> QuerySet[BacklogEntry, Any]:
    """Return what a strategy looks at of a project's live entries, the oldest first."""
    entries = BacklogEntry.without_ages.filter(project=project_pk).oldest()
    names = "issue_key", "category", "base_severity", "runs_offset", "tiers_offset", "status", "paths"
    return entries.values_list(*names)[:MAX_ITEMS]


def lapsed_rows(project_pk: int, now: datetime) -> QuerySet[BacklogEntry, Any]:
    """Return what one transaction opens of a project's entries whose acceptance has ended, the first to end first."""
    lapsed = BacklogEntry.without_ages.filter(project=project_pk).lapsed(now)
    return lapsed.order_by("accepted_until", "issue_key").values_list("pk", "status", "accepted_until")[
        :MAX_LAPSED
    ]


_oldest = PreparedRows(oldest_rows)
_lapsed = PreparedRows(lapsed_rows)


def lock_backlog(project_pk: int) -> BacklogTally:
    """Wait for the project's backlog and hold it until the transaction ends; return its tally."""
    tally = _tally.first(project_pk)
    if tally is None:  # the project's first report; of two at once, one makes the row and one waits for it
        BacklogTally.objects.bulk_create([BacklogTally(project_id=project_pk)], ignore_conflicts=True)
        tally = _tally.first(project_pk)
        assert tally is not None
    return tally


def open_items(project_pk: int) -> list[BacklogItem]:
    """Return the live entries as the engine takes them, by key in code point order: of many, the oldest."""
    tally = _tally_seen.first(project_pk) or BacklogTally(project_id=project_pk)
    items = [
        BacklogItem(
            issue_key=row.issue_key,
            category=row.category,
            base_severity=row.base_severity,
            age_in_runs=row.runs_offset + tally.runs,
            age_in_tiers=row.tiers_offset + tally.tiers,
            status=str(row.status),
            paths=tuple(row.paths),
        )
        for row in _oldest(project_pk)
    ]
    # not the database's order: collations differ between hosts, and the strategy must not
    return sorted(items, key=lambda item: item.issue_key)


def remember(
    entries: dict[str, BacklogEntry],
    run: Run,
    phase: Phase,
    reports: Sequence[IssueReport],
    who: str,
    tally: BacklogTally,
    base: str,
) -> None:
    """Fold reports into the entries that were read under the backlog's lock, and write them.

    `entries` is brought up to date. A resolved entry is reopened with its history, where its fix is known once it is
    known that what the reports' attempt began from has it; a report never ages one. An acceptance ends when a report
    makes its entry worse than it was accepted as.
    """
    now = clock.now()
    rules = rules_of(run)
    events: list[tuple[str, str, str]] = []
    for report in reports:
        entry = entries.get(report.issue_key)
        if entry is None:
            entry = entries[report.issue_key] = BacklogEntry(
                project_id=run.project_id,
                issue_key=report.issue_key,
                category=report.category,
                base_severity=report.severity,
                effective_severity=report.severity,
                occurrence_count=0,
                first_seen_run_id=run.run_id,
                first_seen_at=now,
                opened_at=now,
            )
            entry.become(Status.OPEN, tally)
            events.append((report.issue_key, OPENED, ""))
        elif entry.status == Status.RESOLVED and entry.fixed_by and (base := base or base_of(run, phase)):
            # git is asked first, outside of this transaction, whether what saw it has the fix
            ask_later(entry, base, run_id=run.run_id, who=who)
        elif entry.status == Status.RESOLVED:
            events.append((report.issue_key, "reopened", entry.status))
            entry.become(after(entry.status, "reopened"), tally)
            entry.opened_at, entry.fixed_by = now, ""
        floor = rules.floor(phase.phase_id, report.category)
        severity = worst(entry.effective_severity, report.severity, floor)
        if entry.status == Status.ACCEPTED and severity != entry.effective_severity:
            events.append((report.issue_key, "worsened", entry.status))
            entry.become(after(entry.status, "worsened"), tally)
            entry.opened_at, entry.accepted_until = now, None
        entry.category = riskier(entry.category, report.category)
        entry.base_severity = worst(entry.base_severity, report.severity)
        entry.effective_severity = severity
        entry.occurrence_count += 1
        entry.last_seen_run_id, entry.last_seen_at = run.run_id, now
        entry.seen_in_runs = latest(entry.seen_in_runs, [run.run_id], MAX_NAMES)
        entry.seen_in_tiers = latest(entry.seen_in_tiers, [phase.tier.tier_id], MAX_NAMES)
        entry.paths = joined(entry.paths, paths_in(report.evidence_refs), MAX_PATHS)
        if phase.scope not in entry.scopes:
            entry.scopes = [*entry.scopes, phase.scope][-MAX_PATHS:]
    touched = sorted({report.issue_key for report in reports})
    _put_entries.many([entries[key] for key in touched])
    tell(
        (
            (entries[key].pk, event, old, str(entries[key].status), f"reported in phase {phase.phase_id}")
            for key, event, old in events
        ),
        who=who,
        run_id=run.run_id,
        phase_id=phase.phase_id,
    )


@transaction.atomic(savepoint=False)
def begin_run(run_id: str, project_pk: int) -> None:
    """Open what was accepted until now, age every open entry once for the run, and mark what has reached its
    project's thresholds.

    May come before the run's row is written, in the same transaction. Safe to repeat.
    """
    tally = lock_backlog(project_pk)
    lapse(project_pk, run_id=run_id)
    begun = rows.run_begun(run_id)
    if age(tally, run_id, "", begun[0].created_at if begun else None):
        [project] = _ruleset(project_pk)
        thresholds = _thresholds(project.ruleset__sha256)
        mark_aged(tally, thresholds, why=f"run {run_id} starts", run_id=run_id)


@lru_cache(maxsize=256)
def _thresholds(sha256: str | None) -> Thresholds:
    """Return the thresholds of the ruleset of that content, read once a process; None is a project without one."""
    document = Ruleset.objects.filter(sha256=sha256).values_list("document", flat=True).first()
    return project_thresholds(document or {})


@transaction.atomic
def begin_tier(run_id: str, tier_id: str) -> None:
    """Age every open entry once for the tier, and mark what has reached the run's thresholds.

    Safe to repeat. A tier that is not there ages nothing.
    """
    tier = Tier.objects.select_related("run").filter(run=run_id, tier_id=tier_id).first()
    if tier is None:
        return
    tally = lock_backlog(tier.run.project_id)
    if age(tally, run_id, tier_id, tier.started_at):
        mark_aged(
            tally,
            rules_of(tier.run).thresholds,
            why=f"tier {tier_id} of run {run_id} starts",
            run_id=run_id,
        )


def age(tally: BacklogTally, run_id: str, tier_id: str, moment: datetime | None) -> bool:
    """Age the entries opened before the moment (None: now), once; tell whether this call did it. Needs the lock.

    One write for all of them, and one each for those opened since the moment, which stay as they are. The moment is
    kept: `lapse` asks for it.
    """
    if not _note_aging([tally.project_id, run_id, tier_id, moment or clock.now()]):
        return False
    counter = "tiers" if tier_id else "runs"
    setattr(tally, counter, getattr(tally, counter) + 1)
    _count[counter]([tally.project_id])
    if moment is not None:
        newer = BacklogEntry.without_ages.filter(project=tally.project_id).opened_since(moment)
        newer.update(**{f"{counter}_offset": F(f"{counter}_offset") - 1})
    return True


def mark_aged(tally: BacklogTally, thresholds: Thresholds, *, why: str, run_id: str = "") -> int:
    """Make entries that have reached a threshold count as major; return how many. Needs the lock.

    Takes a bounded number, the rest is the sweep's.
    """
    return sum(
        mark_batch(tally, counter, limit, why=why, run_id=run_id, size=MAX_MARKED_AT_START).marked
        for counter, limit in thresholds.by_counter()
    )


def lapse(project_pk: int, *, run_id: str = "") -> int:
    """Open the first MAX_LAPSED entries whose acceptance has ended; return how many. Needs the lock.

    They count as opened when it ended: what has begun since then ages them, however late this comes; what had begun
    before doesn't.
    """
    lapsed = _lapsed(project_pk, clock.now())
    if not lapsed:
        return 0
    move([(pk, status) for pk, status, _ in lapsed], "lapsed", why="accepted until now", run_id=run_id)
    _age_since(project_pk, [(pk, until) for pk, _, until in lapsed])
    return len(lapsed)


def _age_since(project_pk: int, opened: Sequence[tuple[int, datetime]]) -> None:
    """Age entries for what began after each was opened and was counted before they were live again."""
    first = min(at for _, at in opened)
    begun = list(BacklogAging.objects.filter(project=project_pk, at__gt=first).values_list("tier_id", "at"))
    missed: dict[tuple[int, int], list[int]] = defaultdict(list)
    for pk, opened_at in opened if begun else ():
        since = [bool(tier_id) for tier_id, at in begun if at > opened_at]
        missed[since.count(False), since.count(True)].append(pk)
    for (runs, tiers), pks in missed.items():
        if runs or tiers:
            BacklogEntry.without_ages.filter(pk__in=pks).update(
                runs_offset=F("runs_offset") + runs, tiers_offset=F("tiers_offset") + tiers
            )


def move(
    rows: Iterable[tuple[int, str]],
    event: str,
    *,
    why: str,
    run_id: str,
    phase_id: str = "",
    fixed_by: str = "",
) -> int:
    """Move entries by event, each with its event row; return how many. Needs the lock."""
    moves = [(pk, event, old, str(after(old, event)), why) for pk, old in rows]
    if not moves:
        return 0
    changes: dict[str, Any] = {}
    if event == "lapsed":
        changes = {"opened_at": F("accepted_until"), "accepted_until": None}
    if event == "resolved":
        changes = {"fixed_by": fixed_by}
    new = moves[0][3]
    entries = BacklogEntry.without_ages.filter(pk__in=[pk for pk, *_ in moves])
    entries.update(status=new, **changes, **ages_kept(new))
    tell(moves, who=SYSTEM, run_id=run_id, phase_id=phase_id)
    log.info(f"backlog.{event}", entries=len(moves), run_id=run_id)
    return len(moves)


def tell(
    moves: Iterable[tuple[int, str, str, str, str]],
    *,
    who: str,
    run_id: str,
    phase_id: str = "",
    until: datetime | None = None,
) -> None:
    """Append one event row for each (entry, event, old status, new status, why)."""
    now, correlation = clock.now(), correlation_id() or ""
    _put_events.many(
        [
            BacklogEvent(
                entry_id=entry_pk,
                event=event,
                from_status=old,
                to_status=new,
                who=who[:128],
                why=why,
                run_id=run_id,
                phase_id=phase_id,
                correlation_id=correlation,
                until=until,
                at=now,
            )
            for entry_pk, event, old, new, why in moves
        ]
    )
