"""Roles, and what every authenticated caller looks like to views and services."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """What a token's holder may do (SPEC section 2)."""

    OPERATOR = "operator"
    BUILDER = "builder"
    AUDITOR = "auditor"
    VERIFIER = "verifier"
    READER = "reader"


class Principal(Protocol):
    """The caller as services see it."""

    @property
    def name(self) -> str:
        """The agent's name, written into events and trailers."""

    @property
    def roles(self) -> frozenset[str]:
        """The roles that the presented token carries."""

    @property
    def project_scope(self) -> str | None:
        """The one project the token is limited to, or None."""
