"""Builders' and auditors' results (API.md section 1)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from runs.api.fields import Count, Number, Rows, Text, TextList, Word
from runs.api.serializers.common import FoundIssueIn, SuggestedIssueIn, UsageIn

MAX_FILES = 10_000
MAX_ISSUES = 500
MAX_PROBES = 200
MAX_PATCHES = 20
MAX_OUTPUT_CHARS = 200_000
# The transport bounds the body; the patch's own limit is a setting and has its own code.
_ANY_PATCH_CHARS = 2**31 - 1


class _OnPhase(serializers.Serializer[Any]):
    """A body that may repeat the ids of its path; they must be the same."""

    looks_at_view = True
    phase_id = Text(required=False, allow_null=True)
    run_id = Text(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse ids that differ from the path's, and a lease without its fence."""
        path = self.context["view"].kwargs
        for name in ("run_id", "phase_id"):
            sent = attrs.get(name)
            if sent is not None and sent != path[name]:
                raise serializers.ValidationError({name: f"It must equal the path: {path[name]}"})
        if (attrs.get("lease_id") is None) != (attrs.get("fence") is None):
            raise serializers.ValidationError({"fence": "lease_id and fence come together"})
        return attrs


class ProbeIn(serializers.Serializer[Any]):
    """One check that the builder ran itself. It is kept, never trusted."""

    probe_type = Word()
    exit_code = serializers.IntegerField(min_value=-(2**31), max_value=2**32)
    stdout = Text(required=False, allow_null=True, default="", max_length=MAX_OUTPUT_CHARS)
    stderr = Text(required=False, allow_null=True, default="", max_length=MAX_OUTPUT_CHARS)
    duration_seconds = Number(required=False, allow_null=True, default=0.0)


class BuilderResultIn(_OnPhase):
    """What a builder hands in; with `lease_id` and `fence` under its claim, without them by its own."""

    patch_content = Text(required=False, allow_null=True, default="", max_length=_ANY_PATCH_CHARS)
    files_changed = TextList(max_length=MAX_FILES, allow_null=True)
    lines_added = Count(required=False, default=0)
    lines_removed = Count(required=False, default=0)
    builder_attempts = Count(required=False, default=1)
    tokens_used = Count(required=False, allow_null=True, help_text="Absent means not reported")
    duration_minutes = Number(required=False, default=0.0)
    probe_results = Rows(ProbeIn(), max_length=MAX_PROBES)
    suggested_issues = Rows(SuggestedIssueIn(), max_length=MAX_ISSUES)
    status = Word(max_length=64)
    notes = Text(required=False, allow_null=True, default="")
    lease_id = Word(required=False, allow_null=True)
    fence = Count(required=False, allow_null=True)
    base_commit = Text(required=False, allow_null=True, max_length=64)
    usage = UsageIn(required=False, allow_null=True)


class BuilderResultOut(serializers.Serializer[Any]):
    """`commit_sha` is the candidate's; null while it is being built or waits for an audit."""

    message = serializers.CharField()
    commit_sha = serializers.CharField(allow_null=True)
    phase_state = serializers.CharField()


class AuditorRequestIn(_OnPhase):
    """Ask for an audit; an empty body is fine."""

    tier_id = Text(required=False, allow_null=True)
    builder_result = serializers.JSONField(required=False, allow_null=True)
    failure_context = Text(required=False, allow_null=True)
    review_focus = Word(required=False, default="general", max_length=256)
    auditor_profile = Word(required=False, allow_null=True, max_length=64)


class AuditorRequestOut(serializers.Serializer[Any]):
    """The audit that was asked for."""

    message = serializers.CharField()
    review_focus = serializers.CharField()
    auditor_profile = serializers.CharField()


class SuggestedPatchIn(serializers.Serializer[Any]):
    """A minimal patch of an auditor."""

    description = Text(max_length=20_000)
    patch_content = Text(max_length=_ANY_PATCH_CHARS)
    files_affected = TextList(max_length=MAX_FILES, allow_null=True)


class AuditorResultIn(_OnPhase):
    """An auditor's verdict."""

    review_notes = Text()
    issues_found = Rows(FoundIssueIn(), max_length=MAX_ISSUES)
    suggested_patches = Rows(SuggestedPatchIn(), max_length=MAX_PATCHES)
    auditor_attempts = Count(required=False, default=1)
    tokens_used = Count(required=False, allow_null=True, help_text="Absent means not reported")
    recommendation = serializers.ChoiceField(choices=("approve", "revise", "escalate"))
    confidence = Word(required=False, default="medium", max_length=32)
    lease_id = Word(required=False, allow_null=True)
    fence = Count(required=False, allow_null=True)
    patch_hash = Word(required=False, allow_null=True, help_text="SHA-256 of the patch that was judged")
    usage = UsageIn(required=False, allow_null=True)


class RefusalOut(serializers.Serializer[Any]):
    """Why a suggested patch became no candidate."""

    code = serializers.CharField()
    reason = serializers.CharField()


class AuditorResultOut(serializers.Serializer[Any]):
    """What became of a verdict. The branch moves later, after gates: commits here are candidates."""

    message = serializers.CharField()
    recommendation = serializers.CharField()
    patches_applied = serializers.IntegerField()
    commit_shas = serializers.ListField(child=serializers.CharField())
    phase_state = serializers.CharField()
    refusals = RefusalOut(many=True)
