"""Django app configuration."""

from __future__ import annotations

from django.apps import AppConfig


class IssuesConfig(AppConfig):
    """The issues app."""

    name = "issues"
    default_auto_field = "django.db.models.BigAutoField"
