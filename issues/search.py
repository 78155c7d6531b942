"""Which entries of a backlog are asked for, and how many there are of each kind.

A list is a page of one ordered walk, so it takes the same statements at any size, and every filter has an index for
the case that few entries pass it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Count, Func, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce

from issues.aging import Status
from issues.facets import categories_of
from issues.models import BacklogEntry, BacklogTally, IssueName, RunIndexEntry, Vote
from issues.querysets import BacklogEntryQuerySet
from issues.severity import MAJOR, MINOR
from issues.words import ENTRY_WORDS, query_for

NEWEST = ("-id",)
MAX_CATEGORIES = 50
COUNTED = 10_000
MAX_CAUSES = 100  # of the entry whose group is asked for
# What a list shows of an entry: the others are long, or for the page of one.
LISTED = (
    "id", "project", "issue_key", "category", "base_severity", "effective_severity", "status", "occurrence_count",
    "first_seen_run_id", "last_seen_run_id", "first_seen_at", "last_seen_at", "opened_at", "accepted_until",
    "paths",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: all that is given must hold.

    `severity` is the effective one, `path` the beginning of a file's, `group` an entry: it, and those with its cause
    at other places. What is not open has no age to ask for.
    """

    text: str = ""
    issue_key: str = ""
    statuses: tuple[str, ...] = ()
    severity: str = ""
    category: str | None = None
    is_accepted: bool | None = None
    min_age_in_runs: int = 0
    min_age_in_tiers: int = 0
    seen_in_run: str = ""
    path: str = ""
    reporter: str = ""
    group: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether only what the facets are about is asked for."""
        return self == Wanted(statuses=self.statuses, severity=self.severity, category=self.category)


@dataclass(frozen=True, slots=True)
class Facet:
    """How many entries have a value; `is_at_least` when counting stopped there."""

    value: str
    count: int
    is_at_least: bool


def entries(project_pk: int, wanted: Wanted) -> BacklogEntryQuerySet:
    """Return the project's entries that are wanted, in no order yet."""
    rows = BacklogEntry.objects.filter(project=project_pk)
    if wanted.issue_key:
        # by any of its keys
        rows = rows.filter(issue_key__in=sorted(called(project_pk, wanted.issue_key)))
    if wanted.statuses:
        rows = rows.filter(status__in=wanted.statuses)
    if wanted.severity:
        rows = rows.filter(effective_severity=wanted.severity)
    if wanted.category is not None:
        rows = rows.filter(category=wanted.category)
    if wanted.is_accepted is not None:
        is_accepted = Q(status=Status.ACCEPTED)
        rows = rows.filter(is_accepted if wanted.is_accepted else ~is_accepted)
    if wanted.min_age_in_runs or wanted.min_age_in_tiers:
        rows = _as_old(rows, project_pk, wanted)
    if wanted.seen_in_run:
        seen = RunIndexEntry.objects.filter(run=wanted.seen_in_run, run__project=project_pk)
        # also what goes by another key since
        named = IssueName.objects.filter(
            project=project_pk, kind=IssueName.KEY, name__in=seen.values("issue_key")
        )
        rows = rows.filter(issue_key__in=named.values("issue_key"))
    if wanted.reporter:
        rows = rows.filter(pk__in=Vote.objects.filter(reporter=wanted.reporter).values("entry"))
    if wanted.group:
        rows = in_group(rows, wanted.group)
    if wanted.path:
        rows = _below(rows, wanted.path)
    return with_words(rows, wanted.text)


def called(project_pk: int, key: str) -> set[str]:
    """Return what the issue of a key goes by, and the key itself."""
    named = IssueName.objects.filter(project=project_pk, kind=IssueName.KEY, name=key)
    return {key, *named.values_list("issue_key", flat=True)}


def in_group(rows: Any, entry_pk: int) -> Any:
    """Keep an entry and those of its project that have one of its causes at other places. Two small queries."""
    entry = BacklogEntry.without_ages.filter(pk=entry_pk).values_list("project", "issue_key").first()
    if entry is None:
        return rows.none()
    project_pk, key = entry
    of_project = IssueName.objects.filter(project=project_pk)
    causes = (
        of_project.filter(issue_key=key).exclude(cause="").order_by("cause").values_list("cause", flat=True)
    )
    alike = list(causes.distinct()[:MAX_CAUSES])
    if not alike:
        return rows.filter(pk=entry_pk)
    return rows.filter(
        project=project_pk, issue_key__in=of_project.filter(cause__in=alike).values("issue_key")
    )


def with_votes(rows: BacklogEntryQuerySet) -> BacklogEntryQuerySet:
    """Annotate how many have reported each entry: for a page, not for a whole backlog."""
    votes = Vote.objects.filter(entry=OuterRef("pk")).order_by().values("entry").annotate(n=Count("pk"))
    return rows.annotate(vote_count=Coalesce(Subquery(votes.values("n")), 0))


def with_words(rows: Any, text: str, *, is_whole: bool = False) -> Any:
    """Keep the entries that hold every word of the text; all of them when it has no word."""
    query = query_for(text, is_whole=is_whole)
    return rows if query is None else rows.alias(words=ENTRY_WORDS).filter(words=query)


def _as_old(rows: Any, project_pk: int, wanted: Wanted) -> Any:
    """Keep live entries of these ages: their offsets are compared, which are indexed."""
    tally = BacklogTally.objects.filter(pk=project_pk).first() or BacklogTally(project_id=project_pk)
    return rows.live().filter(
        runs_offset__gte=wanted.min_age_in_runs - tally.runs,
        tiers_offset__gte=wanted.min_age_in_tiers - tally.tiers,
    )


def _below(rows: Any, path: str) -> Any:
    """Keep the entries of which a file's path begins so: found by its words, then looked at."""
    begins = Func(
        "paths",
        Value("$[*] ? (@ starts with $path)"),
        Value(json.dumps({"path": path})),
        function="jsonb_path_exists",
        output_field=BooleanField(),
    )
    return with_words(rows, path, is_whole=True).filter(begins)


def facets(project_pk: int, wanted: Wanted) -> dict[str, list[Facet]]:
    """Return how many of the wanted entries have each status, severity and category. Two statements.

    No count goes beyond 10,000. What only asks for a status, a severity or a category is counted value by value
    along an index, each facet without its own filter, so that its other values are told too. Anything else is
    walked once: the newest 10,000 that are found are counted, and every count is a lower bound if there are more.
    Of very many categories the first 50 are counted.
    """
    names = categories_of(project_pk, MAX_CATEGORIES)
    if not wanted.is_plain:
        return _counted_once(project_pk, wanted, names)
    asked = {
        "status": (replace(wanted, statuses=()), list(map(str, Status))),
        "severity": (replace(wanted, severity=""), [MINOR, MAJOR]),
        "category": (replace(wanted, category=None), names),
    }
    parts, parameters = [], []
    for facet, (others, values) in asked.items():
        for value in values:
            rows = entries(project_pk, _with(others, facet, value)).order_by(
                *NEWEST
            )  # so an index is followed
            sql, given = rows.values("pk")[: COUNTED + 1].query.sql_with_params()
            parts.append(f"SELECT %s::text, %s::text, count(*) FROM ({sql}) AS found")  # noqa: S608 (Django's)
            parameters += [facet, value, *given]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), parameters)
        rows_found = cursor.fetchall()
    return {
        name: [
            Facet(value, min(count, COUNTED), count > COUNTED)
            for facet, value, count in rows_found
            if facet == name
        ]
        for name in asked
    }


def _with(wanted: Wanted, facet: str, value: str) -> Wanted:
    if facet == "status":
        return replace(wanted, statuses=(value,))
    return replace(wanted, severity=value) if facet == "severity" else replace(wanted, category=value)


def _counted_once(project_pk: int, wanted: Wanted, names: list[str]) -> dict[str, list[Facet]]:
    columns = ("status", "effective_severity", "category")
    rows = entries(project_pk, wanted).order_by(*NEWEST).values_list(*columns)[: COUNTED + 1]
    found = list(rows)
    is_more = len(found) > COUNTED
    known = (list(map(str, Status)), [MINOR, MAJOR], names)
    counted: dict[str, list[Facet]] = {}
    for place, name in enumerate(("status", "severity", "category")):
        counts = dict.fromkeys(known[place], 0)
        for row in found[:COUNTED]:
            if row[place] in counts:
                counts[row[place]] += 1
        counted[name] = [Facet(value, count, is_more) for value, count in counts.items()]
    return counted
