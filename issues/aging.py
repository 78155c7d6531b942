"""The rules of a backlog: statuses, their moves, and when an entry is aged (SPEC section 5). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from autopack_site.kernel.errors import IllegalTransition
from strategy.rules import read_rules


class Status(StrEnum):
    """Where an entry stands."""

    OPEN = "open"
    NEEDS_CLEANUP = "needs_cleanup"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    ACCEPTED = "accepted"


OPENED = "opened"  # the event of a first report; what has no status yet moves to OPEN
BACKLOG_MOVES: Mapping[tuple[str, str], Status] = {
    (Status.OPEN, "aged"): Status.NEEDS_CLEANUP,
    (Status.REOPENED, "aged"): Status.NEEDS_CLEANUP,
    (Status.OPEN, "resolved"): Status.RESOLVED,
    (Status.REOPENED, "resolved"): Status.RESOLVED,
    (Status.NEEDS_CLEANUP, "resolved"): Status.RESOLVED,
    (Status.RESOLVED, "reopened"): Status.REOPENED,
    (Status.OPEN, "accepted"): Status.ACCEPTED,
    (Status.REOPENED, "accepted"): Status.ACCEPTED,
    (Status.NEEDS_CLEANUP, "accepted"): Status.ACCEPTED,
    (Status.ACCEPTED, "accepted"): Status.ACCEPTED,  # until another date
    (Status.ACCEPTED, "lapsed"): Status.OPEN,
    (Status.ACCEPTED, "worsened"): Status.OPEN,
    (Status.ACCEPTED, "resolved"): Status.RESOLVED,
}
# What ages, is resolved by coverage and reaches the strategy. An acceptance holds to its date: till then neither
# runs nor reports move the entry, but for one that shows it to be worse than what was accepted.
LIVE_STATUSES = (Status.OPEN, Status.NEEDS_CLEANUP, Status.REOPENED)
AGEABLE_STATUSES = tuple(status for (status, event) in BACKLOG_MOVES if event == "aged")


COUNTERS = ("runs", "tiers")  # what ages count


def after(status: str, event: str) -> Status:
    """Return the status after the event. Raises IllegalTransition."""
    if (status, event) not in BACKLOG_MOVES:
        raise IllegalTransition(status, event)
    return BACKLOG_MOVES[status, event]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which age an entry counts as major: in distinct runs, or in distinct tiers."""

    runs: int
    tiers: int

    def by_counter(self) -> tuple[tuple[str, int], ...]:
        """Return each counter with its threshold."""
        return (("runs", self.runs), ("tiers", self.tiers))

    def reached(self, age_in_runs: int, age_in_tiers: int) -> bool:
        """Tell whether the ages reach one of the two."""
        return age_in_runs >= self.runs or age_in_tiers >= self.tiers


def thresholds_of(row: Mapping[str, Any]) -> Thresholds:
    """Read the thresholds out of a safety profile or a strategy: both name them alike."""
    return Thresholds(
        int(row["minor_issue_aging_runs_threshold"]), int(row["minor_issue_aging_tiers_threshold"])
    )


def project_thresholds(ruleset: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds of a ruleset's default safety profile; what it omits is the published default."""
    rules = read_rules(ruleset)
    return thresholds_of(rules.safety_profiles[rules.default_safety_profile])
