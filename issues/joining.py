"""Issues that turn out to be one: their entries in the backlog, and their rows in a run, are folded into one.

What is folded is what reports in any other order would have made: the worst severity, the first and the last
sighting, all that was seen, counts added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from autopack_site.kernel import clock
from autopack_site.kernel.ids import new_id
from issues.aging import LIVE_STATUSES, Status
from issues.categories import riskier
from issues.evidence import MAX_KEY_CHARS, MAX_NAMES, MAX_PATHS, MAX_REFS, fullest, joined, latest, least
from issues.known import Vote
from issues.models import BacklogEntry, BacklogTally, Issue, RunIndexEntry, TierIssue
from issues.severity import MAJOR, MINOR, count_change, worst
from runs.models import Phase, Run, Tier
from runs.services import note_issue_counts
from runs.transitions import note

MAX_REPORTERS = 20
MAX_TOLD = 100  # lost keys that a run's timeline names of one joint
# Of entries that become one: what asks for work goes before what doesn't.
_PRECEDENCE = (Status.NEEDS_CLEANUP, Status.REOPENED, Status.OPEN, Status.ACCEPTED, Status.RESOLVED)
# But what a person accepted stays accepted to its date when reports make it one with what is no worse, in any order
# of theirs. What is worse a reporter can't put under it.
_BY_REPORTS = (Status.ACCEPTED, Status.NEEDS_CLEANUP, Status.REOPENED, Status.OPEN, Status.RESOLVED)
Told = tuple[int, str, str, str, str]  # entry, event, status before and after, why
_Row = TypeVar("_Row", Issue, TierIssue, RunIndexEntry)


def join_entries(project_pk: int, renamed: Mapping[str, str], tally: BacklogTally) -> list[Told]:
    """Let each lost key's entry become that of the new key; return what is to be told. Needs the backlog's lock."""
    keys = sorted({*renamed, *renamed.values()})
    found = BacklogEntry.without_ages.filter(project=project_pk, issue_key__in=keys).order_by(
        "first_seen_at", "pk"
    )
    by_new: dict[str, list[BacklogEntry]] = defaultdict(list)
    for entry in found:
        entry.tell_ages(tally)
        by_new[renamed.get(entry.issue_key, entry.issue_key)].append(entry)
    told: list[Told] = []
    for new, entries in sorted(by_new.items()):
        kept = next((entry for entry in entries if entry.issue_key == new), entries[0])
        for other in entries:
            if other is not kept:
                told += absorb(kept, other, tally, keeps_acceptance=True)
        if kept.issue_key != new:
            why = f"goes by {new}, no longer by {kept.issue_key}"
            kept.issue_key = new
            kept.save(update_fields=["issue_key"])
            told.append((kept.pk, "renamed", str(kept.status), str(kept.status), why))
    return told


def absorb(
    kept: BacklogEntry, other: BacklogEntry, tally: BacklogTally, *, keeps_acceptance: bool = False
) -> list[Told]:
    """Fold another entry into the one that is kept, and hide it behind that one. Needs the backlog's lock.

    With `keeps_acceptance` the two are accepted if one of them was and the other is no worse, to the later date.
    Both histories say so.
    """
    before, gone = str(kept.status), str(other.status)
    ages = max(kept.age_in_runs, other.age_in_runs), max(kept.age_in_tiers, other.age_in_tiers)
    accepted = [one.effective_severity for one in (kept, other) if one.status == Status.ACCEPTED]
    is_covered = keeps_acceptance and worst(kept.effective_severity, other.effective_severity) in accepted
    precedence = _BY_REPORTS if is_covered else _PRECEDENCE
    status = min(kept.status, other.status, key=lambda one: precedence.index(Status(one)))
    until = [one.accepted_until for one in (kept, other) if one.accepted_until is not None]
    kept.status, kept.accepted_until = status, max(until) if status == Status.ACCEPTED else None
    in_tally = (tally.runs, tally.tiers) if status in LIVE_STATUSES else (0, 0)
    kept.runs_offset, kept.tiers_offset = ages[0] - in_tally[0], ages[1] - in_tally[1]
    kept.tell_ages(tally)
    kept.fixed_by = kept.fixed_by if status == Status.RESOLVED and kept.fixed_by == other.fixed_by else ""
    kept.category = riskier(kept.category, other.category)
    kept.base_severity = worst(kept.base_severity, other.base_severity)
    kept.effective_severity = worst(kept.effective_severity, other.effective_severity)
    kept.occurrence_count += other.occurrence_count
    kept.opened_at = min(kept.opened_at, other.opened_at)
    if other.first_seen_at < kept.first_seen_at:
        kept.first_seen_at, kept.first_seen_run_id = other.first_seen_at, other.first_seen_run_id
    if other.last_seen_at > kept.last_seen_at:
        kept.last_seen_at, kept.last_seen_run_id = other.last_seen_at, other.last_seen_run_id
    kept.seen_in_runs = latest(other.seen_in_runs, kept.seen_in_runs, MAX_NAMES)
    kept.seen_in_tiers = latest(other.seen_in_tiers, kept.seen_in_tiers, MAX_NAMES)
    kept.paths = joined(kept.paths, other.paths, MAX_PATHS)
    kept.scopes = [*kept.scopes, *(scope for scope in other.scopes if scope not in kept.scopes)][-MAX_PATHS:]
    _take_votes(kept, other)
    key = other.issue_key
    other.become(Status.RESOLVED, tally)
    other.accepted_until, other.merged_into = None, kept
    # The key is free: its name leads to the other. The new one can't be guessed, and so not be reported before.
    other.issue_key = f"merged:{new_id()}:{key}"[:MAX_KEY_CHARS]
    other.save()
    kept.save()
    why = f"{key} is one issue with {kept.issue_key}"
    if until:
        words = "accepted until" if status == Status.ACCEPTED else "which ends the acceptance until"
        why += f", {words} {clock.stamp(max(until))}"
    return [
        (other.pk, "merged", gone, str(other.status), why),
        (kept.pk, "absorbed", before, str(kept.status), why),
    ]


def _take_votes(kept: BacklogEntry, other: BacklogEntry) -> None:
    known = Vote.objects.filter(entry=kept).values("reporter")
    Vote.objects.filter(entry=other, reporter__in=known).delete()
    Vote.objects.filter(entry=other).update(entry=kept)


def join_in_run(run: Run, renamed: Mapping[str, str], *, who: str) -> None:
    """Fold the run's rows of lost keys into those of the new ones, and its counts with them.

    Needs the run's row lock. Counts are of distinct issues: two that were counted apart are one from here on. Caps
    may have been judged by them, so the run's timeline tells what they were. Three statements for all rows of a
    level, and one for each phase whose counts move.
    """
    keys = sorted({*renamed, *renamed.values()})
    deltas: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    issues = Issue.objects.filter(phase__run=run, issue_key__in=keys).order_by("first_seen_at", "pk")
    phases = list(Phase.objects.filter(run=run).order_by("phase_index").values_list("pk", "tier_id"))
    tier_of = dict(phases)
    in_tier: dict[tuple[int, str], str] = {}
    folded = _Folded(Issue, renamed)
    for (phase_pk, new), rows in _grouped(issues, "phase_id", renamed).items():
        folded.fold(rows, deltas[phase_pk], "phase")
        if (standing := _standing(rows[0])) is not None:
            place = tier_of[phase_pk], new
            in_tier[place] = worst(in_tier.get(place, MINOR), standing)
    folded.write()
    first_of_tier = {tier_pk: phase_pk for phase_pk, tier_pk in reversed(phases)}
    tiers = TierIssue.objects.filter(tier__run=run, issue_key__in=keys).order_by("pk")
    folded = _Folded(TierIssue, renamed)
    for (tier_pk, new), tier_rows in _grouped(tiers, "tier_id", renamed).items():
        # what it counts as in its worst phase, and a phase may have become worse by the joint
        tier_rows[0].effective_severity, before = (
            in_tier[tier_pk, new],
            [row.effective_severity for row in tier_rows],
        )
        folded.fold(tier_rows, deltas[first_of_tier[tier_pk]], "tier", before)
    folded.write()
    index = RunIndexEntry.objects.filter(run=run, issue_key__in=keys).order_by("pk")
    folded = _Folded(RunIndexEntry, renamed)
    for index_rows in _grouped(index, "run_id", renamed).values():
        folded.fold(index_rows, deltas[phases[0][0]], "run")
    folded.write()
    for phase_pk in sorted(deltas):
        if any(deltas[phase_pk].values()):
            note_issue_counts(phase_pk, **deltas[phase_pk])
    _tell_counts(
        run, renamed, deltas, {phase_pk: tier_pk for tier_pk, phase_pk in first_of_tier.items()}, who
    )


def _tell_counts(
    run: Run,
    renamed: Mapping[str, str],
    deltas: Mapping[int, Mapping[str, int]],
    tier_of: Mapping[int, int],
    who: str,
) -> None:
    """Note in the run's timeline what its counts were, and those of its tiers, if a joint has lowered one."""
    of_run = [sum(one.get(f"run_{level}", 0) for one in deltas.values()) for level in (MINOR, MAJOR)]
    if min(of_run) >= 0:
        return
    run.refresh_from_db(fields=["state", "minor_issues_count", "major_issues_count"])
    now = [run.minor_issues_count, run.major_issues_count]
    was = [count - delta for count, delta in zip(now, of_run, strict=True)]
    moved = {tier_of[pk]: one for pk, one in deltas.items() if one.get("tier_minor") or one.get("tier_major")}
    note(
        run,
        "issues_joined",
        who=who,
        why=f"{was[0]} minor and {was[1]} major issues are {now[0]} and {now[1]}: some counted apart are one",
        data={
            "minor_issues": [was[0], now[0]],
            "major_issues": [was[1], now[1]],
            "tiers": {
                tier.tier_id: {
                    f"{level}_issues": [count - moved[tier.pk].get(f"tier_{level}", 0), count]
                    for level, count in ((MINOR, tier.minor_issues_count), (MAJOR, tier.major_issues_count))
                }
                for tier in Tier.objects.filter(pk__in=moved).order_by("tier_index")
            },
            "joined": {old: renamed[old] for old in sorted(renamed)[:MAX_TOLD]},
        },
    )


def _grouped(
    rows: Iterable[_Row], owner: str, renamed: Mapping[str, str]
) -> dict[tuple[Any, str], list[_Row]]:
    found: dict[tuple[Any, str], list[_Row]] = defaultdict(list)
    for row in rows:
        found[getattr(row, owner), renamed.get(row.issue_key, row.issue_key)].append(row)
    return found


class _Folded:
    """Rows of one level: those of lost keys, folded into the first of each issue."""

    def __init__(self, model: type[Issue | TierIssue | RunIndexEntry], renamed: Mapping[str, str]) -> None:
        self.model = model
        self.renamed = renamed
        self.kept: list[Any] = []
        self.gone: list[int] = []

    def fold(
        self,
        rows: Sequence[Issue | TierIssue | RunIndexEntry],
        deltas: dict[str, int],
        level: str,
        before: Sequence[str | None] | None = None,
    ) -> None:
        """Make one row of them, the first; `before` is what they counted as, where that isn't what they say."""
        kept, *others = rows
        before = [_standing(row) for row in rows] if before is None else before
        for other in others:
            _take(kept, other)
            self.gone.append(other.pk)
        kept.issue_key = self.renamed.get(kept.issue_key, kept.issue_key)
        self.kept.append(kept)
        for severities in ((one, None) for one in before):
            _count(deltas, level, *severities)
        _count(deltas, level, None, _standing(kept))

    def write(self) -> None:
        """Delete what is folded, then write what is kept: one statement each for up to 1,000 rows."""
        if self.gone:
            self.model.objects.filter(pk__in=self.gone).delete()
        if self.kept:
            fields = [field.name for field in self.model._meta.concrete_fields if not field.primary_key]
            self.model.objects.bulk_update(self.kept, fields, batch_size=1000)


def _count(deltas: dict[str, int], level: str, before: str | None, after: str | None) -> None:
    for severity, delta in zip((MINOR, MAJOR), count_change(before, after), strict=True):
        deltas[f"{level}_{severity}"] += delta


def _standing(row: Issue | TierIssue | RunIndexEntry) -> str | None:
    return None if getattr(row, "expected_fail", False) else row.effective_severity


def _take(kept: Any, other: Any) -> None:
    kept.effective_severity = worst(kept.effective_severity, other.effective_severity)
    if isinstance(kept, TierIssue):
        return
    kept.severity = worst(kept.severity, other.severity)
    kept.category = riskier(kept.category, other.category)
    kept.expected_fail = kept.expected_fail and other.expected_fail
    kept.occurrence_count += other.occurrence_count
    if isinstance(kept, RunIndexEntry):
        kept.first_phase_index = min(kept.first_phase_index, other.first_phase_index)
        kept.last_phase_index = max(kept.last_phase_index, other.last_phase_index)
        kept.seen_in_tiers = joined(kept.seen_in_tiers, other.seen_in_tiers, 1000)
        kept.seen_in_phases = joined(kept.seen_in_phases, other.seen_in_phases, 1000)
        return
    kept.last_seen_at = max(kept.last_seen_at, other.last_seen_at)
    kept.source = least(kept.source, other.source)
    kept.task_category = least(kept.task_category, other.task_category)
    kept.complexity = least(kept.complexity, other.complexity)
    kept.description = fullest(kept.description, other.description)
    kept.evidence_refs = joined(kept.evidence_refs, other.evidence_refs, MAX_REFS)
    kept.reporters = joined(kept.reporters, other.reporters, MAX_REPORTERS)
