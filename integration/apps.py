"""Django app configuration."""

from __future__ import annotations

from django.apps import AppConfig


class IntegrationConfig(AppConfig):
    """The integration app."""

    name = "integration"
    default_auto_field = "django.db.models.BigAutoField"
