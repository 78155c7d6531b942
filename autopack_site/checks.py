"""System checks that refuse an unsafe start; the web process and `up` enforce them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

DEVELOPMENT_KEY = "insecure-development-key"
MINIMUM_KEY_CHARACTERS = 32


def is_loopback(bind: str) -> bool:
    """Tell whether `host:port` or a unix socket can be reached from this machine only."""
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_unsafe_start(app_configs: Sequence[AppConfig] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Return an error for each setting that must not be as it is; each hint says what to set."""
    found: list[CheckMessage] = []
    if settings.PRODUCTION:
        if settings.SECRET_KEY == DEVELOPMENT_KEY or len(settings.SECRET_KEY) < MINIMUM_KEY_CHARACTERS:
            found.append(
                Error(
                    "production runs with the development SECRET_KEY, or one that is too short",
                    hint=f"set AUTOPACK_SECRET_KEY (or _FILE): {MINIMUM_KEY_CHARACTERS} random characters",
                    id="autopack.E001",
                )
            )
        if settings.DEBUG:
            found.append(
                Error("production runs with DEBUG on", hint="unset AUTOPACK_DEBUG", id="autopack.E002")
            )
        if settings.CRASH_DIR:
            found.append(
                Error(
                    "production would let its own processes be killed at named lines",
                    hint="unset AUTOPACK_CRASH_DIR: it is for fault tests only",
                    id="autopack.E006",
                )
            )
        if "*" in settings.ALLOWED_HOSTS:
            found.append(
                Error(
                    "production answers to every host name",
                    hint="name yours in AUTOPACK_ALLOWED_HOSTS",
                    id="autopack.E003",
                )
            )
    if settings.OPEN_LOOPBACK and settings.PRODUCTION:
        found.append(
            Error(
                "production serves calls without a token",
                hint="unset AUTOPACK_OPEN_LOOPBACK and give each client a token",
                id="autopack.E004",
            )
        )
    if settings.OPEN_LOOPBACK and not is_loopback(settings.BIND):
        found.append(
            Error(
                f"calls without a token would be served to other machines at {settings.BIND}",
                hint="unset AUTOPACK_OPEN_LOOPBACK, or set AUTOPACK_BIND to a loopback address",
                id="autopack.E005",
            )
        )
    return found


def enforce() -> None:
    """Raise ImproperlyConfigured, naming every reason, when this configuration must not serve."""
    reasons = [f"{found.msg} ({found.hint})" for found in refuse_unsafe_start()]
    if reasons:
        raise ImproperlyConfigured("Autopack does not start: " + "; ".join(reasons))
