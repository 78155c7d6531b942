"""Whether a run may be promoted (SPEC section 10): a decision with its reasons, and what should be known besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runs.caps import shown
from runs.lifecycle import RunState
from runs.models import Run, Tier, Transition
from strategy.limits import written


@dataclass(frozen=True)
class Reason:
    """One thing that stands against a promotion: a stable code, and figures for people."""

    code: str
    detail: str


def reasons_against(run: Run, tiers: Sequence[Tier]) -> list[Reason]:
    """Return what stands against promoting the run, in order; nothing means that it may be promoted.

    The run summary exists as soon as the run has ended: it is derived from the same rows at any time.
    Tokens that were reported late are counted, so a run can lose its eligibility, never gain it.
    """
    reasons: list[Reason] = []
    if run.state != RunState.DONE_SUCCESS:
        reasons.append(Reason("not-successful", f"the run is {run.state}"))
    if run.completed_at is None:
        reasons.append(Reason("no-run-summary", "the run has not ended"))
    dirty = [tier.tier_id for tier in tiers if tier.cleanliness != "clean"]
    if dirty:
        reasons.append(Reason("tier-not-clean", ", ".join(dirty)))
    if run.state == RunState.DONE_FAILED_BUDGET_EXHAUSTED or run.overrun or run.cost_overrun:
        reasons.append(Reason("budget-failure", _spent(run)))
    if run.minor_issues_count > run.max_minor_issues_total:
        counts = f"{run.minor_issues_count} of {run.max_minor_issues_total} allowed"
        reasons.append(Reason("excess-minor-issues", counts))
    return reasons


def remarks(run: Run) -> list[Reason]:
    """Return what stands against nothing, and should be known before promoting the run. One query."""
    waived = Transition.objects.filter(run=run, event="gate_waived", machine="phase")
    phases = waived.order_by().values("subject").distinct().count()
    if not phases:
        return []
    which = "1 phase" if phases == 1 else f"{phases} phases"
    return [Reason("gate-waived", f"the gate of {which} had no steps: patches landed untested")]


def _spent(run: Run) -> str:
    text = f"{run.tokens_used} of {written(run.token_cap)} tokens are used"
    if run.cost_cap_micro_usd is not None:
        text += f", {shown('micro_usd', run.cost_micro_usd)} of {shown('micro_usd', run.cost_cap_micro_usd)}"
    return text


def is_eligible(run: Run, tiers: Sequence[Tier]) -> tuple[bool, list[str]]:
    """Return whether the run may be promoted, and the reasons against it as `code: detail`."""
    reasons = reasons_against(run, tiers)
    return not reasons, [f"{reason.code}: {reason.detail}" for reason in reasons]
