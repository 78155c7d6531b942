"""Typed errors of the issues app."""

from __future__ import annotations

from autopack_site.kernel.errors import NotFound


class BacklogEntryNotFound(NotFound):
    """No backlog holds this entry."""

    code = "backlog-entry-not-found"
    title = "Backlog entry not found"
