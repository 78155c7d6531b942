"""Whether a run may be promoted (SPEC section 10). Pure: rows in, a decision with its reasons out."""

from __future__ import annotations

from collections.abc import Sequence

from runs.lifecycle import RunState
from runs.models import Run, Tier


def is_eligible(run: Run, tiers: Sequence[Tier]) -> tuple[bool, list[str]]:
    """Return whether the run may be promoted, and what stands against it (codes with figures, in order).

    The run summary exists as soon as the run has ended: it is derived from the same rows at any time.
    Tokens that were reported late are counted, so a run can lose its eligibility, never gain it.
    """
    reasons: list[str] = []
    if run.state != RunState.DONE_SUCCESS:
        reasons.append(f"not-successful: the run is {run.state}")
    if run.completed_at is None:
        reasons.append("no-run-summary: the run has not ended")
    dirty = [tier.tier_id for tier in tiers if tier.cleanliness != "clean"]
    if dirty:
        reasons.append(f"tier-not-clean: {', '.join(dirty)}")
    if run.state == RunState.DONE_FAILED_BUDGET_EXHAUSTED or run.tokens_used > run.token_cap:
        reasons.append(f"budget-failure: {run.tokens_used} of {run.token_cap} tokens are used")
    if run.minor_issues_count > run.max_minor_issues_total:
        reasons.append(
            f"excess-minor-issues: {run.minor_issues_count} of {run.max_minor_issues_total} allowed"
        )
    return not reasons, reasons
