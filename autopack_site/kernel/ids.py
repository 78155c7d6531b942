"""Identifiers: what a run, tier or phase id may look like, and fresh random ids.

Ids become path segments, file names and parts of git refs, so the rule (API.md) is the intersection of
what URLs, file systems and `git check-ref-format` accept.
"""

from __future__ import annotations

import re
import uuid

ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_ID = re.compile(ID_PATTERN)
ID_RULE = (
    "1 to 128 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit, "
    "without '..', not ending in '.' or '.lock'"
)


def is_valid_id(value: object) -> bool:
    """Tell whether value may name a run, tier or phase."""
    return (
        isinstance(value, str)
        and _ID.fullmatch(value) is not None
        and ".." not in value
        and not value.endswith((".", ".lock"))
    )


def new_id() -> str:
    """Return a fresh random id (UUID4, hex)."""
    return uuid.uuid4().hex
