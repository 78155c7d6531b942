"""Typed errors of the issues app."""

from __future__ import annotations

from autopack_site.kernel.errors import Conflict, NotFound


class BacklogEntryNotFound(NotFound):
    """No backlog holds this entry."""

    code = "backlog-entry-not-found"
    title = "Backlog entry not found"


class NameNotFound(NotFound):
    """The entry has no such name."""

    code = "issue-name-not-found"
    title = "Name of an issue not found"


class NotMergeable(Conflict):
    """The entries can't be merged or split so: one is part of another already, or it is the key it goes by."""

    code = "issue-not-mergeable"
    title = "The issues can't be merged or split so"
