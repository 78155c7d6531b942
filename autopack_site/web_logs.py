"""Gunicorn's own lines in the form of all others: its logger is told to leave them to the root's handler."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from gunicorn.glogging import Logger


class WebLogger(Logger):
    """Named by gunicorn's option `--logger-class`."""

    def setup(self, cfg: Any) -> None:
        """Hand everything on. Reading a setting is what configures the root: gunicorn asks before Django does."""
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopack_site.settings")
        for log in (self.error_log, self.access_log):
            log.handlers[:] = []
            log.propagate = True
            log.setLevel(settings.LOG_LEVEL)
