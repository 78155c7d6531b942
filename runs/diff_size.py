"""What an attempt's patch is held to once its size is known: rules on the size of a diff (`by_diff_size`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs.models import Attempt

DIFF_LINES = "diff_lines"
"""Where an attempt's report keeps how many lines its patch adds and removes together, as the judge counted them."""


def held_to(attempt: Attempt) -> Mapping[str, Any]:
    """Return `ci_profile`, `requires_audit` and `auditor_profile` for the attempt's patch.

    They are the phase's, or those of the last size that the patch reaches. Without a candidate the size is not
    known and the phase's own hold.
    """
    # before there is a candidate the report is the builder's words alone
    lines = attempt.report.get(DIFF_LINES, 0) if attempt.candidate_sha else 0
    return held_at(attempt.phase.limits, lines)


def held_at(limits: Mapping[str, Any], lines: int) -> Mapping[str, Any]:
    """Return what a phase's limits say of a patch of so many lines: the last size's row that it reaches, or they."""
    reached = [row for row in limits.get("by_diff_size", ()) if row["diff_lines"] <= lines]
    return reached[-1] if reached else limits
