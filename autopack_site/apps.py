"""Django app configuration of the project package: it brings the commands and the system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register

from autopack_site.checks import refuse_unsafe_start


class SiteConfig(AppConfig):
    """The project package as an app."""

    name = "autopack_site"

    def ready(self) -> None:
        """Register the system checks."""
        register(refuse_unsafe_start, Tags.security)
