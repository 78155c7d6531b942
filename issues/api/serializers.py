"""What the issue routes take, and, for the published schema, what they answer (API.md, file shapes)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from issues.aging import Status
from issues.evidence import MAX_COMPLEXITY_CHARS, MAX_KEY_CHARS, MAX_TOKEN_CHARS
from issues.severity import MAJOR, MINOR

STATUSES = [str(status) for status in Status]
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
ONE_WORD = r"^[^\s\x00-\x1f\x7f]+$"
MAX_EVIDENCE = 1000
MAX_EVIDENCE_CHARS = 16_384
MAX_DESCRIPTION = 65_536


class IssueQueryIn(serializers.Serializer[Any]):
    """A report by query parameters."""

    issue_key = serializers.RegexField(PRINTABLE, max_length=MAX_KEY_CHARS, trim_whitespace=False)
    severity = serializers.ChoiceField([MINOR, MAJOR])
    source = serializers.RegexField(  # type: ignore[assignment]  # the field's name in the contract
        ONE_WORD, max_length=MAX_TOKEN_CHARS, trim_whitespace=False
    )
    category = serializers.RegexField(PRINTABLE, max_length=MAX_TOKEN_CHARS, trim_whitespace=False)
    task_category = serializers.CharField(
        max_length=MAX_TOKEN_CHARS, required=False, allow_null=True, allow_blank=True
    )
    complexity = serializers.CharField(
        max_length=MAX_COMPLEXITY_CHARS, required=False, allow_null=True, allow_blank=True
    )


class EvidenceIn(serializers.ListField):
    """A bare list of evidence strings. Long ones are accepted and stored clipped."""

    child = serializers.CharField(max_length=MAX_EVIDENCE_CHARS, allow_blank=True, trim_whitespace=False)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_EVIDENCE, **options)


class IssueIn(IssueQueryIn):
    """A report as one JSON object."""

    evidence_refs = EvidenceIn(required=False)
    description = serializers.CharField(
        max_length=MAX_DESCRIPTION, required=False, allow_blank=True, trim_whitespace=False
    )
    expected_fail = serializers.BooleanField(required=False)


class BacklogQueryIn(serializers.Serializer[Any]):
    """Whose backlog; the default project's when absent."""

    project_id = serializers.CharField(max_length=128, required=False)


class IssueOut(serializers.Serializer[Any]):
    """One issue of a phase."""

    issue_key = serializers.CharField()
    severity = serializers.ChoiceField([MINOR, MAJOR])
    effective_severity = serializers.ChoiceField([MINOR, MAJOR])
    source = serializers.CharField()  # type: ignore[assignment]  # the field's name in the contract
    category = serializers.CharField()
    task_category = serializers.CharField()
    complexity = serializers.CharField()
    expected_fail = serializers.BooleanField()
    occurrence_count = serializers.IntegerField()
    first_seen_run = serializers.CharField()
    last_seen_run = serializers.CharField()
    evidence_refs = serializers.ListField(child=serializers.CharField())


class PhaseFileOut(serializers.Serializer[Any]):
    """A phase's issues with the counts of the whole phase."""

    phase_id = serializers.CharField()
    tier_id = serializers.CharField()
    issues = IssueOut(many=True)
    minor_issue_count = serializers.IntegerField()
    major_issue_count = serializers.IntegerField()
    issue_state = serializers.ChoiceField(["no_issues", "has_minor_issues", "has_major_issues"])


class IndexEntryOut(serializers.Serializer[Any]):
    """One key in a run."""

    category = serializers.CharField()
    severity = serializers.ChoiceField([MINOR, MAJOR])
    effective_severity = serializers.ChoiceField([MINOR, MAJOR])
    first_phase_index = serializers.IntegerField()
    last_phase_index = serializers.IntegerField()
    occurrence_count = serializers.IntegerField()
    seen_in_tiers = serializers.ListField(child=serializers.CharField())
    seen_in_phases = serializers.ListField(child=serializers.CharField())


class BacklogEntryOut(serializers.Serializer[Any]):
    """One key in a project's memory."""

    category = serializers.CharField()
    base_severity = serializers.ChoiceField([MINOR, MAJOR])
    age_in_runs = serializers.IntegerField()
    age_in_tiers = serializers.IntegerField()
    first_seen_run_id = serializers.CharField()
    last_seen_run_id = serializers.CharField()
    last_seen_at = serializers.DateTimeField()
    seen_in_tiers = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(STATUSES)


@extend_schema_field(
    {"oneOf": [{"$ref": "#/components/schemas/BacklogEntryOut"}, {"type": "object", "maxProperties": 0}]}
)
class _EntryOrNone(serializers.JSONField):
    """An entry of the backlog, or an empty object."""


class RecordedOut(serializers.Serializer[Any]):
    """What a report touched; the backlog's entry is empty for an expected failure that it doesn't know."""

    message = serializers.CharField()
    phase_file = PhaseFileOut()
    run_index_entry = IndexEntryOut()
    project_backlog_entry = _EntryOrNone()


class RunIndexOut(serializers.Serializer[Any]):
    """A run's issues by key."""

    run_id = serializers.CharField()
    issues_by_key = serializers.DictField(child=IndexEntryOut())


class BacklogOut(serializers.Serializer[Any]):
    """A project's backlog by key."""

    project_id = serializers.CharField()
    issues_by_key = serializers.DictField(child=BacklogEntryOut())


class BacklogSummaryOut(serializers.Serializer[Any]):
    """A backlog in figures: total = open + needs_cleanup + resolved; what was reopened is open.

    `top_aging_issues` holds at most 10 entries that are not resolved, `needs_cleanup` at most 1,000; both as
    `[issue_key, entry]`, the oldest first.
    """

    total_issues = serializers.IntegerField()
    open_count = serializers.IntegerField()
    needs_cleanup_count = serializers.IntegerField()
    resolved_count = serializers.IntegerField()
    top_aging_issues = serializers.ListField(child=serializers.ListField())
    needs_cleanup = serializers.ListField(child=serializers.ListField())


class SummaryBudgetsOut(serializers.Serializer[Any]):
    """What a run has used of its caps. `token_utilization` is a share; late reports can take it above 1.

    A `token_cap` that is null is none.
    """

    tokens_used = serializers.IntegerField()
    token_cap = serializers.IntegerField(allow_null=True)
    token_utilization = serializers.FloatField()
    phase_count = serializers.IntegerField()
    max_phases = serializers.IntegerField()


class SummaryIssuesOut(serializers.Serializer[Any]):
    """A run's issues by distinct key. `distinct_issues` also counts expected failures."""

    minor_count = serializers.IntegerField()
    major_count = serializers.IntegerField()
    max_minor_total = serializers.IntegerField()
    distinct_issues = serializers.IntegerField()


class SummaryTierOut(serializers.Serializer[Any]):
    """A tier of a run summary."""

    tier_id = serializers.CharField()
    name = serializers.CharField()
    state = serializers.CharField()
    phase_count = serializers.IntegerField()
    minor_issues = serializers.IntegerField()
    major_issues = serializers.IntegerField()
    tokens_used = serializers.IntegerField()


class SummaryPhaseOut(serializers.Serializer[Any]):
    """A phase of a run summary."""

    phase_id = serializers.CharField()
    phase_index = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.CharField()
    task_category = serializers.CharField()
    complexity = serializers.CharField()
    builder_attempts = serializers.IntegerField()
    auditor_attempts = serializers.IntegerField()
    tokens_used = serializers.IntegerField()
    minor_issues = serializers.IntegerField()
    major_issues = serializers.IntegerField()


class RunSummaryOut(serializers.Serializer[Any]):
    """How a run stands or ended; tiers and phases in index order."""

    run_id = serializers.CharField()
    state = serializers.CharField()
    safety_profile = serializers.CharField()
    run_scope = serializers.CharField()
    budgets = SummaryBudgetsOut()
    issues = SummaryIssuesOut()
    tiers = SummaryTierOut(many=True)
    phases = SummaryPhaseOut(many=True)
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True)
