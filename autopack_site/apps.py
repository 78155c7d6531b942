"""Django app configuration of the project package: it brings the commands and the system checks."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """The project package as an app."""

    name = "autopack_site"

    def ready(self) -> None:
        """Register the system checks; settings are complete only now."""
        import_module("autopack_site.checks")
