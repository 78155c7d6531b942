"""Agents and their API tokens. Only a token's hash is stored."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from runs.querysets import ApiTokenQuerySet
from strategy.models import Project


class Agent(models.Model):
    """A named caller: a builder, auditor, verifier or operator, program or person."""

    name = models.CharField(max_length=128, unique=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ApiToken(models.Model):
    """A bearer token. `digest` is SHA-256 of the value (256 random bits, so no slow hash is needed)."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="tokens")
    project = models.ForeignKey(
        Project, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens"
    )
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    roles = models.JSONField(default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.agent_id}:{self.prefix}"

    def is_valid(self, now: datetime) -> bool:
        """Tell whether the token is neither revoked nor expired (`ApiTokenQuerySet.valid`)."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)
