"""Tokens: asked for, shown without their value, and once with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from autopack_site.kernel import clock
from autopack_site.kernel.auth import Role
from runs.api.fields import Id, Word
from runs.models import ApiToken


class TokenIn(serializers.Serializer[Any]):
    """Who gets the token, for what, until when. No project: every one that the caller itself may see."""

    agent = Word(max_length=128)
    roles = serializers.ListField(
        child=serializers.ChoiceField(choices=[str(role) for role in Role]),
        min_length=1,
        max_length=len(Role),
    )
    project_id = Id(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def validate_agent(self, value: str) -> str:
        """Refuse a name that can't stand in one line of a history or a commit."""
        if not value.isprintable() or value != value.strip():
            raise serializers.ValidationError("A name is printable and without blanks around it")
        return value

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        """Refuse an end in the past."""
        if value is not None and value <= clock.now():
            raise serializers.ValidationError("It must be in the future")
        return value


class RevokeIn(serializers.Serializer[Any]):
    """Nothing needs to be said: an empty body is fine."""


class TokenOut(serializers.Serializer[ApiToken]):
    """A token without its value. `project_id` null: every project."""

    id = serializers.IntegerField()
    prefix = serializers.CharField()
    agent = serializers.CharField(source="agent.name")
    roles = serializers.ListField(child=serializers.CharField())
    project_id = serializers.CharField(source="project.project_id", allow_null=True, default=None)
    state = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)

    def get_state(self, token: ApiToken) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if token.revoked_at is not None:
            return "revoked"
        return "expired" if token.expires_at is not None and token.expires_at <= clock.now() else "valid"


class NewTokenOut(TokenOut):
    """A new token. `token` is its value, shown this once."""

    token = serializers.CharField()


class TokenListOut(serializers.Serializer[Any]):
    """A page of tokens, newest first."""

    tokens = TokenOut(many=True)
    next_cursor = serializers.CharField(allow_null=True)
