"""What the engine takes and gives: frozen values, no ORM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TierSpec:
    """A tier of a plan, as it was asked for."""

    tier_id: str
    tier_index: int
    name: str
    description: str = ""


@dataclass(frozen=True)
class PhaseSpec:
    """A phase of a plan.

    `scope`: path globs it may touch; empty is the whole repository. `depends_on`: None means "after the
    previous phase of its tier in index order, order only"; () means free; names are hard dependencies (the
    phase is skipped when one of them fails).
    """

    phase_id: str
    tier_id: str
    phase_index: int
    name: str
    description: str = ""
    task_category: str | None = None
    complexity: str | None = None
    builder_mode: str | None = None
    scope: tuple[str, ...] = ()
    depends_on: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """Tiers and phases of one run."""

    tiers: tuple[TierSpec, ...]
    phases: tuple[PhaseSpec, ...]


@dataclass(frozen=True)
class RunOptions:
    """What a start request may override; None takes the ruleset's value."""

    safety_profile: str | None = None
    run_scope: str | None = None
    token_cap: int | None = None
    max_phases: int | None = None
    max_duration_minutes: int | None = None


@dataclass(frozen=True)
class BacklogItem:
    """One open entry of the project's issue backlog; `paths` are the files that its evidence names."""

    issue_key: str
    category: str
    base_severity: str
    age_in_runs: int
    age_in_tiers: int
    status: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class CompiledStrategy:
    """A strategy: the document, the classified plan (debt_cleanup phases inserted), its bytes and hash.

    `canonical` is the document by RFC 8785, `sha256` the hex digest of those bytes; `backlog_seen` what rules were
    told of the backlog (`backlog.BacklogSeen.to_json`), which is kept beside the document for later replays.
    """

    document: dict[str, Any]
    plan: Plan
    canonical: bytes
    sha256: str
    backlog_seen: list[list[int]]
