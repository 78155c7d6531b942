"""Django app configuration."""

from __future__ import annotations

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """The runs app."""

    name = "runs"
    default_auto_field = "django.db.models.BigAutoField"
