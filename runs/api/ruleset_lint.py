"""A ruleset looked at before it is put in force: nothing is stored."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel.auth import Role
from runs.api.fields import Text
from runs.api.schema import answers, shown
from runs.api.views import AgentView
from strategy.documents import MAX_CHARS
from strategy.lint import Finding, lint_text


class RulesetTextIn(serializers.Serializer[Any]):
    """A ruleset as a person wrote it, in JSON or YAML."""

    text = Text(max_length=MAX_CHARS)


class FindingOut(serializers.Serializer[Finding]):
    """One thing to look at: `field` is a path in the text, `line` counts from 1."""

    code = serializers.CharField()
    field = serializers.CharField()
    line = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()


class FindingsOut(serializers.Serializer[Any]):
    """What there is to look at, by line."""

    findings = FindingOut(many=True)


_SENT = {
    "text": "rules:\n- id: small\n  set: {ci_profile: normal, max_builder_attempts: 1}\n",
}
_ANSWERED = {
    "findings": [
        {
            "code": "value-without-effect",
            "field": "rules[0].set.ci_profile",
            "line": 3,
            "message": "small: what is in force without the rule is as strict; a rule can't loosen",
        }
    ]
}


class RulesetLintView(AgentView):
    """`/rulesets/lint`."""

    allowed_roles = (Role.OPERATOR,)

    @extend_schema(
        request=RulesetTextIn,
        responses=answers({200: FindingsOut}, 422),
        operation_id="lint_ruleset",
        examples=shown(sent=_SENT, answered=_ANSWERED),
    )
    def post(self, request: Request) -> Response:
        """Find rules that never act, contradictions and limits that can't be met. An invalid ruleset is a 422."""
        body = self.body(RulesetTextIn)
        return Response(FindingsOut({"findings": lint_text(body["text"])}).data)
