"""What the routes of a backlog's entries take and answer."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from autopack_site.kernel import clock
from issues.api.serializers import STATUSES, BacklogQueryIn
from issues.evidence import MAX_KEY_CHARS, MAX_TOKEN_CHARS, MAX_WHY_CHARS
from issues.exports import FORMS
from issues.search import Wanted
from issues.severity import MAJOR, MINOR
from runs.api.fields import Count, Text, Word
from runs.api.serializers.projects import PageIn

MAX_AGE = 2**31 - 1
MAX_TEXT_CHARS = 256
MAX_PATH_CHARS = 512
_STATUS = "|".join(STATUSES)


class EntryFilterIn(BacklogQueryIn):
    """Which entries; all that is given must hold."""

    q = Text(
        required=False, max_length=MAX_TEXT_CHARS, help_text="Words of key, category and files, or beginnings"
    )
    issue_key = Word(required=False, max_length=MAX_KEY_CHARS)
    status = serializers.RegexField(
        rf"^({_STATUS})(,({_STATUS})){{0,4}}$", required=False, help_text="One status, or several with commas"
    )
    severity = serializers.ChoiceField([MINOR, MAJOR], required=False, help_text="What it counts as")
    category = Word(required=False, max_length=MAX_TOKEN_CHARS)
    accepted = serializers.BooleanField(required=False)
    min_age_in_runs = Count(required=False, default=0, max_value=MAX_AGE)
    min_age_in_tiers = Count(required=False, default=0, max_value=MAX_AGE)
    seen_in_run = Word(required=False, max_length=128)
    path = Word(required=False, max_length=MAX_PATH_CHARS, help_text="The beginning of a file's path")
    reporter = Word(required=False, max_length=128, help_text="Who has reported it")
    group = Count(
        required=False,
        min_value=1,
        help_text="The id of an entry: it, and those with its cause at other places",
    )


class EntryListIn(EntryFilterIn, PageIn):
    """Which entries, and which page of them."""


class BacklogExportIn(EntryFilterIn):
    """Which entries, and as what."""

    form = serializers.ChoiceField(FORMS, required=False, default="csv")


class RunExportIn(serializers.Serializer[Any]):
    """As what."""

    form = serializers.ChoiceField(FORMS, required=False, default="csv")


def wanted_of(query: dict[str, Any]) -> Wanted:
    """Return what a checked query asks for."""
    return Wanted(
        text=query.get("q", ""),
        issue_key=query.get("issue_key", ""),
        statuses=tuple(dict.fromkeys(query["status"].split(","))) if "status" in query else (),
        severity=query.get("severity", ""),
        category=query.get("category"),
        is_accepted=query.get("accepted"),
        min_age_in_runs=query["min_age_in_runs"],
        min_age_in_tiers=query["min_age_in_tiers"],
        seen_in_run=query.get("seen_in_run", ""),
        path=query.get("path", ""),
        reporter=query.get("reporter", ""),
        group=query.get("group", 0),
    )


class EntryRowOut(serializers.Serializer[Any]):
    """An entry in a list, with the first five of its files."""

    id = serializers.IntegerField()
    issue_key = serializers.CharField()
    category = serializers.CharField()
    base_severity = serializers.ChoiceField([MINOR, MAJOR])
    effective_severity = serializers.ChoiceField([MINOR, MAJOR])
    status = serializers.ChoiceField(STATUSES)
    accepted_until = serializers.DateTimeField(allow_null=True)
    age_in_runs = serializers.IntegerField()
    age_in_tiers = serializers.IntegerField()
    occurrence_count = serializers.IntegerField()
    first_seen_run_id = serializers.CharField()
    last_seen_run_id = serializers.CharField()
    first_seen_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    opened_at = serializers.DateTimeField()
    paths = serializers.ListField(child=serializers.CharField())
    votes = serializers.IntegerField(help_text="How many have reported it, each once")


class EntryListOut(serializers.Serializer[Any]):
    """A page of a backlog, the newest entries first."""

    project_id = serializers.CharField()
    entries = EntryRowOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class SightingOut(serializers.Serializer[Any]):
    """What a phase saw of an entry, who brought it, and the evidence."""

    run_id = serializers.CharField()
    phase_id = serializers.CharField()
    issue_key = serializers.CharField()
    severity = serializers.ChoiceField([MINOR, MAJOR])
    effective_severity = serializers.ChoiceField([MINOR, MAJOR])
    source = serializers.CharField()  # type: ignore[assignment]  # the field's name in the contract
    reporters = serializers.ListField(child=serializers.CharField())
    occurrence_count = serializers.IntegerField()
    last_seen_at = serializers.DateTimeField()
    description = serializers.CharField()
    evidence_refs = serializers.ListField(child=serializers.CharField())


class NameOut(serializers.Serializer[Any]):
    """A name of an issue: a reporter's key, or a place, whose name is a digest of where and why."""

    id = serializers.IntegerField()
    kind = serializers.CharField(help_text="`key` or `place`")
    name = serializers.CharField()
    site = serializers.CharField()
    is_pinned = serializers.BooleanField(
        help_text="Split off by a person: it alone says where its reports go"
    )


class MemberOut(serializers.Serializer[Any]):
    """An issue with the same cause at another place."""

    id = serializers.IntegerField()
    issue_key = serializers.CharField()
    status = serializers.ChoiceField(STATUSES)
    site = serializers.CharField()


class EntryOut(EntryRowOut):
    """An entry with all its files and scopes, its names, its group and who reported it, the first hundred of each.

    The sightings are the newest twenty of the last ten runs that saw it. `merged_into` is what it became part of.
    """

    merged_into = serializers.IntegerField(allow_null=True)
    fixed_by = serializers.CharField(help_text="The commit that resolved it, where one is known")
    names = NameOut(many=True)
    reporters = serializers.ListField(child=serializers.CharField())
    group = MemberOut(many=True)

    project_id = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
    seen_in_runs = serializers.ListField(child=serializers.CharField())
    seen_in_tiers = serializers.ListField(child=serializers.CharField())
    sightings = SightingOut(many=True)


class FacetOut(serializers.Serializer[Any]):
    """How many entries have a value; with `is_at_least` there may be more."""

    value = serializers.CharField()
    count = serializers.IntegerField()
    is_at_least = serializers.BooleanField()


class FacetsOut(serializers.Serializer[Any]):
    """Counts by status, by what entries count as, and by category (the first fifty)."""

    project_id = serializers.CharField()
    status = FacetOut(many=True)
    severity = FacetOut(many=True)
    category = FacetOut(many=True)


class EntryEventOut(serializers.Serializer[Any]):
    """One step of an entry's life; `phase_id` is "" where it is of no phase. `until` is an acceptance's end."""

    id = serializers.IntegerField()
    event = serializers.CharField()
    from_status = serializers.CharField()
    to_status = serializers.CharField()
    who = serializers.CharField()
    why = serializers.CharField()
    run_id = serializers.CharField()
    phase_id = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)
    at = serializers.DateTimeField()
    correlation_id = serializers.CharField()


class TimelineOut(serializers.Serializer[Any]):
    """An entry's life, oldest first."""

    id = serializers.IntegerField()
    issue_key = serializers.CharField()
    events = EntryEventOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class WhyIn(serializers.Serializer[Any]):
    """Why: kept with the decision."""

    why = Word(max_length=MAX_WHY_CHARS)

    def validate_why(self, value: str) -> str:
        """Refuse a reason that says nothing."""
        if not value.strip():
            raise serializers.ValidationError("A reason is required: it is kept with the decision")
        return value


class ResolveIn(WhyIn):
    """Why, and the commit that fixed it where there is one."""

    commit = Word(required=False, max_length=64)


class MergeIssuesIn(WhyIn):
    """The entries that become one with this one, and why."""

    entries = serializers.ListField(child=serializers.IntegerField(min_value=1), min_length=1, max_length=100)


class SplitIssueIn(WhyIn):
    """The name that becomes an issue of its own, the key of that where the name is a place, and why."""

    name_id = serializers.IntegerField(min_value=1)
    issue_key = Word(required=False, max_length=MAX_KEY_CHARS)


class AcceptIn(WhyIn):
    """Until when, and why."""

    until = serializers.DateTimeField()

    def validate_until(self, value: Any) -> Any:
        """Refuse a time that has passed."""
        if value <= clock.now():
            raise serializers.ValidationError("An acceptance ends in the future", "date_past")
        return value


class ImportedOut(serializers.Serializer[Any]):
    """What an import brought, and how its phase counts now. `issues` are distinct keys."""

    message = serializers.CharField()
    reports = serializers.IntegerField()
    issues = serializers.IntegerField()
    minor_issue_count = serializers.IntegerField()
    major_issue_count = serializers.IntegerField()
    issue_state = serializers.ChoiceField(["no_issues", "has_minor_issues", "has_major_issues"])
