"""Recording issues: one transaction, three levels, a number of queries that no run's size changes.

First the reports' names are bound to issues (`issues.naming`): from there on a report goes by its issue's key.

Locks, in this order: the run's row, then the project's backlog (`issues.backlog.lock_backlog`); counters and
outbox rows come last. Rows of one run have one writer at a time and so have the rows of one backlog, so what
is read may be written back; the unique constraints would refuse anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog
from django.db import transaction

from autopack_site.kernel import clock
from autopack_site.kernel.prepared import Prepared, PreparedInsert
from issues.aligning import align_later
from issues.backlog import lock_backlog, remember
from issues.categories import riskier
from issues.evidence import MAX_REFS, cleaned, fullest, joined, least
from issues.identity import Names, names_of
from issues.joining import MAX_REPORTERS, join_in_run
from issues.joints import joints_left, settle_joints
from issues.models import BacklogEntry, Issue, RunIndexEntry, TierIssue, Vote
from issues.naming import Named, bind
from issues.rules import RunRules, rules_of
from issues.severity import MAJOR, MINOR, count_change, worst
from issues.shapes import backlog_entry_shape, index_entry_shape, phase_file_shape
from runs.errors import PhaseNotFound
from runs.models import Phase, Run
from runs.ports import IssueReport, Shared
from runs.services import note_issue_counts
from runs.transitions import write_files

Read = tuple[IssueReport, Names]
log = structlog.get_logger(__name__)
_put_issues = PreparedInsert(Issue, unique=["phase", "issue_key"])
_put_tier = PreparedInsert(TierIssue, unique=["tier", "issue_key"])
_put_index = PreparedInsert(RunIndexEntry, unique=["run", "issue_key"])
_put_votes = PreparedInsert(Vote, unique=["entry", "reporter"])
# What every report reads, by statements that are compiled once: one row a key and level.
_phase_and_lock = Prepared[Phase](
    lambda phase_pk: (
        Phase.objects.select_for_update(of=("run",), no_key=True)
        .filter(pk=phase_pk)
        .select_related("run__strategy", "tier")
        .only(
            *("phase_id", "phase_index", "task_category", "complexity", "scope", "tier__tier_id"),
            *("run__project_id", "run__base_commit", "run__head_commit", "run__strategy__sha256"),
        )
    )
)
_issues = Prepared[Issue](lambda phase_pk, keys: Issue.objects.filter(phase=phase_pk, issue_key__in=keys))
_tier = Prepared[TierIssue](lambda tier_pk, keys: TierIssue.objects.filter(tier=tier_pk, issue_key__in=keys))
_index = Prepared[RunIndexEntry](
    lambda run_id, keys: RunIndexEntry.objects.filter(run=run_id, issue_key__in=keys)
)
_backlog = Prepared[BacklogEntry](
    lambda project_pk, keys: BacklogEntry.without_ages.filter(project=project_pk, issue_key__in=keys)
)


@dataclass
class _Levels:
    """The rows that a batch of reports touches, by key, and how the counts of distinct keys move."""

    phase: Phase
    rules: RunRules
    issues: dict[str, Issue]
    tier: dict[str, TierIssue]
    index: dict[str, RunIndexEntry]
    backlog: dict[str, BacklogEntry]
    deltas: dict[str, int] = field(default_factory=dict)

    def count(self, level: str, before: str | None, after: str | None) -> None:
        """Note that a key's standing at a level changed."""
        for severity, delta in zip((MINOR, MAJOR), count_change(before, after), strict=True):
            name = f"{level}_{severity}"
            self.deltas[name] = self.deltas.get(name, 0) + delta


def record_reports(
    phase_pk: int, reports: Sequence[IssueReport], *, reporter: str, base: str = ""
) -> list[Shared]:
    """Record reports about a phase; return for each what it touched, with the counts of the whole phase.

    `base` is the commit of the attempt that saw it; without one the phase's last attempt is meant. Joins the
    caller's transaction if one is open. A run or phase that has ended takes reports all the same. Raises
    PhaseNotFound.
    """
    return record_read(phase_pk, read(reports), reporter=reporter, base=base)


def read(reports: Iterable[IssueReport]) -> list[Read]:
    """Make reports safe to store and find what they are known by.

    Before any lock: a message that is made to be long in the reading must cost its reporter alone.
    """
    return [(safe, names_of(safe)) for safe in map(cleaned, reports)]


def record_read(phase_pk: int, found: Sequence[Read], *, reporter: str, base: str = "") -> list[Shared]:
    """Record reports that were read before; see `record_reports`."""
    if not found:
        return []
    with transaction.atomic():
        return _record(phase_pk, found, reporter, base)


def _record(phase_pk: int, found: Sequence[Read], reporter: str, base: str) -> list[Shared]:
    seen, names = [report for report, _ in found], [name for _, name in found]
    phase = _lock_run_of(phase_pk)
    run = phase.run
    tally = lock_backlog(run.project_id)
    left = partial(joints_left, phase)
    named = bind(run.project_id, names, joints_left=left)
    seen = [replace(report, issue_key=key) for report, key in zip(seen, named.keys, strict=True)]
    keys = sorted(set(named.keys))
    if named.renamed or named.refused:
        settle_joints(phase, named, tally, who=reporter)
    if named.renamed:
        align_later(run.project_id, named.renamed, but=run.pk)
    index = _run_index(run, keys, named, reporter)
    levels = _Levels(
        phase,
        rules_of(run),
        issues={row.issue_key: row for row in _issues(phase.pk, keys)},
        tier={row.issue_key: row for row in _tier(phase.tier_id, keys)},
        index=index,
        backlog={},
    )
    for entry in _backlog(run.project_id, keys):
        entry.tell_ages(tally)
        levels.backlog[entry.issue_key] = entry
    for report in seen:
        _fold(levels, run, report, reporter)
    _write(levels, keys)
    counted = [report for report in seen if not report.expected_fail]
    remember(levels.backlog, run, phase, counted, reporter, tally, base)
    voted = sorted({report.issue_key for report in counted})
    _put_votes.many(
        [Vote(entry=levels.backlog[key], reporter=reporter[:128], at=clock.now()) for key in voted]
    )
    phase.minor_issues_count, phase.major_issues_count = note_issue_counts(phase.pk, **levels.deltas)
    write_files(run.run_id)
    log.info("issues.recorded", run_id=run.run_id, phase_id=phase.phase_id, reports=len(seen), keys=len(keys))
    return [_shared(levels, report.issue_key) for report in seen]


def _run_index(run: Run, keys: list[str], named: Named, who: str) -> dict[str, RunIndexEntry]:
    """Return the run's index rows of the keys; rows of keys that these went by before are folded into them."""
    before = {old: new for new, former in named.former.items() for old in former} | named.renamed
    found = _index(run.pk, sorted({*keys, *before}))
    stale = {row.issue_key: before[row.issue_key] for row in found if row.issue_key in before}
    if stale:
        join_in_run(run, stale, who=who)
        found = _index(run.pk, keys)
    return {row.issue_key: row for row in found}


def _lock_run_of(phase_pk: int) -> Phase:
    """Lock the row of a phase's run; weaker than the supervisor's lock, but each waits for the other.

    Return the phase with its run and tier, and of phase and tier only what their plan says: what waits for the lock
    sees the run's row as it is then, and the others as they were before.
    """
    phase = _phase_and_lock.first(phase_pk)
    if phase is None:
        raise PhaseNotFound(f"Phase {phase_pk} not found")
    return phase


def _fold(levels: _Levels, run: Run, report: IssueReport, reporter: str) -> None:
    """Add one report to the rows in memory."""
    effective = worst(report.severity, levels.rules.floor(levels.phase.phase_id, report.category))
    standing = levels.backlog.get(report.issue_key)
    if standing and standing.is_aged(levels.rules.thresholds):
        effective = MAJOR
    _fold_issue(levels, run, report, reporter, effective)
    _fold_index(levels, run, report, effective)
    if not levels.issues[report.issue_key].expected_fail:
        row = levels.tier.get(report.issue_key)
        before = row.effective_severity if row else None
        if row is None:
            row = TierIssue(tier_id=levels.phase.tier_id, issue_key=report.issue_key)
        # in the tier the key counts as what it counts as in its worst phase
        row.effective_severity = worst(before or MINOR, levels.issues[report.issue_key].effective_severity)
        levels.tier[report.issue_key] = row
        levels.count("tier", before, row.effective_severity)


def _fold_issue(levels: _Levels, run: Run, report: IssueReport, reporter: str, effective: str) -> None:
    now = clock.now()
    row = levels.issues.get(report.issue_key)
    before = _counted(row)
    if row is None:
        standing = levels.backlog.get(report.issue_key)
        row = levels.issues[report.issue_key] = Issue(
            phase=levels.phase,
            issue_key=report.issue_key,
            severity=report.severity,
            effective_severity=effective,
            source=report.source,
            category=report.category,
            task_category=report.task_category or levels.phase.task_category,
            complexity=report.complexity or levels.phase.complexity,
            expected_fail=report.expected_fail,
            occurrence_count=0,
            first_seen_run=standing.first_seen_run_id if standing else run.run_id,
            first_seen_at=now,
        )
    row.severity = worst(row.severity, report.severity)
    row.effective_severity = worst(row.effective_severity, effective)
    # the same whichever report came first
    row.source, row.category = least(row.source, report.source), riskier(row.category, report.category)
    row.task_category = least(row.task_category, report.task_category or "")
    row.complexity = least(row.complexity, report.complexity or "")
    row.description = fullest(row.description, report.description)
    row.expected_fail = row.expected_fail and report.expected_fail
    row.occurrence_count += 1
    row.last_seen_run, row.last_seen_at = run.run_id, now
    row.evidence_refs = joined(row.evidence_refs, report.evidence_refs, MAX_REFS)
    row.reporters = joined(row.reporters, [reporter[:128]], MAX_REPORTERS)
    levels.count("phase", before, _counted(row))


def _fold_index(levels: _Levels, run: Run, report: IssueReport, effective: str) -> None:
    phase = levels.phase
    row = levels.index.get(report.issue_key)
    before = _counted(row)
    if row is None:
        row = levels.index[report.issue_key] = RunIndexEntry(
            run=run,
            issue_key=report.issue_key,
            severity=report.severity,
            effective_severity=effective,
            category=report.category,
            expected_fail=report.expected_fail,
            first_phase_index=phase.phase_index,
            last_phase_index=phase.phase_index,
            occurrence_count=0,
        )
    row.severity = worst(row.severity, report.severity)
    row.effective_severity = worst(row.effective_severity, effective)
    row.category = riskier(row.category, report.category)
    row.expected_fail = row.expected_fail and report.expected_fail
    row.first_phase_index = min(row.first_phase_index, phase.phase_index)
    row.last_phase_index = max(row.last_phase_index, phase.phase_index)
    row.occurrence_count += 1
    row.seen_in_tiers = joined(row.seen_in_tiers, [phase.tier.tier_id], 1000)
    row.seen_in_phases = joined(row.seen_in_phases, [phase.phase_id], 1000)
    levels.count("run", before, _counted(row))


def _counted(row: Issue | RunIndexEntry | None) -> str | None:
    return None if row is None or row.expected_fail else row.effective_severity


def _write(levels: _Levels, keys: list[str]) -> None:
    """Write the run's rows in key order: one statement a level."""
    _put_issues.many([levels.issues[key] for key in keys])
    _put_tier.many([levels.tier[key] for key in keys if key in levels.tier])
    _put_index.many([levels.index[key] for key in keys])


def _shared(levels: _Levels, key: str) -> Shared:
    standing = levels.backlog.get(key)
    return Shared(
        phase_file=phase_file_shape(levels.phase, [levels.issues[key]]),
        run_index_entry=index_entry_shape(levels.index[key]),
        project_backlog_entry=backlog_entry_shape(standing) if standing else {},
    )
