"""Django app configuration."""

from __future__ import annotations

from django.apps import AppConfig


class StrategyConfig(AppConfig):
    """The strategy app."""

    name = "strategy"
    default_auto_field = "django.db.models.BigAutoField"
