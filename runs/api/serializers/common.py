"""Shapes that several routes share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runs import budgets, meters
from runs.api.fields import Count, Number, TextList, Word
from runs.api.fields import Text as TextField
from runs.figures import read
from runs.ports import IssueReport

SEVERITIES = ("minor", "major")


_ROW = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
        "msg": {"type": "string"},
    },
    "required": ["type", "loc", "msg"],
}


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "array", "items": _ROW}]})
class _Detail(serializers.JSONField):
    """A string or a list of rows."""


class ProblemOut(serializers.Serializer[Any]):
    """An error (RFC 9457). `detail` is a string; for 422 a list of `{type, loc, msg}`."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = _Detail()
    code = serializers.CharField()
    correlation_id = serializers.CharField(allow_null=True)


class UsageIn(serializers.Serializer[Any]):
    """What an agent used: `tokens`, or its parts; whichever is more counts.

    `input_tokens` are those that no cache served, `output_tokens` hold the reasoning. `cost_usd` is what the agent
    says it cost.
    """

    tokens = Count(required=False, allow_null=True)
    input_tokens = Count(required=False, allow_null=True)
    output_tokens = Count(required=False, allow_null=True)
    cache_creation_input_tokens = Count(required=False, allow_null=True)
    cache_read_input_tokens = Count(required=False, allow_null=True)
    reasoning_tokens = Count(required=False, allow_null=True)
    turns = Count(required=False, allow_null=True)
    agent = TextField(required=False, allow_null=True, max_length=128)
    agent_version = TextField(required=False, allow_null=True, max_length=128)
    model = TextField(required=False, allow_null=True, max_length=256)
    session_id = TextField(required=False, allow_null=True, max_length=128)
    cost_usd = Number(required=False, allow_null=True, min_value=0, max_value=1e9)


class SuggestedIssueIn(serializers.Serializer[Any]):
    """One problem that a builder saw."""

    default_source = "cursor_self_doubt"

    issue_key = Word(max_length=256)
    severity = serializers.ChoiceField(choices=SEVERITIES)
    source = Word(max_length=64, required=False)  # type: ignore[assignment]  # the contract's name
    category = Word(max_length=128)
    evidence_refs = TextList(allow_null=True)
    description = TextField(required=False, allow_null=True, default="", max_length=20_000)

    def to_internal_value(self, data: Any) -> IssueReport:
        """Return the report that the ledger takes."""
        value = super().to_internal_value(data)
        return IssueReport(
            issue_key=value["issue_key"],
            severity=value["severity"],
            source=value.get("source") or self.default_source,
            category=value["category"],
            evidence_refs=tuple(value["evidence_refs"] or ()),
            description=value["description"] or "",
        )


class FoundIssueIn(SuggestedIssueIn):
    """One problem that an auditor found."""

    default_source = "auditor"


def usage_of(body: dict[str, Any]) -> budgets.Usage:
    """Return the usage that a result reports.

    `usage` wins over `tokens_used`. A 0 that was sent is a reported 0; nothing sent is unknown, never 0.
    """
    given = {key: value for key, value in (body.get("usage") or {}).items() if value is not None}
    figures = read(given)
    if figures.total is None:
        figures = replace(figures, tokens=body.get("tokens_used"))
    return meters.usage_from(figures, detail=given)
