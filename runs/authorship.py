"""Who may approve a patch: where an audit is required, another agent than the one who wrote it.

An agent is known by its name: that of its token, or of its declaration. Clients without a token, where
AUTOPACK_OPEN_LOOPBACK lets them in (never in production), share one name that no token can have: they can't be told
apart, so they may approve each other's patches and thereby their own. It goes by the name and not by the setting, as
the worker that lands the patch need not have it.
"""

from __future__ import annotations

from runs.diff_size import held_to
from runs.errors import OwnPatch
from runs.lifecycle import AttemptState
from runs.models import Attempt, Phase
from runs.tokens import TOKENLESS


def barred_author(target: Attempt | None) -> str:
    """Return the name of the agent who may not approve target, since it wrote it; "" where anyone may."""
    if target is None or not held_to(target)["requires_audit"]:
        return ""
    if target.agent == TOKENLESS:
        return ""
    return str(target.agent or "")


def barred_from(audit: Attempt) -> str:
    """Return the name of the agent whom this audit is not for, "" where it is for all.

    An audit of a failed build approves nothing: its verdict is what the builder is told, and anyone may give it.
    """
    return "" if audit.purpose == Attempt.Purpose.FAILURE else barred_author(audit.target)


def barred_from_open(phase: Phase) -> str:
    """Return the name of the agent whom the phase's wanted audit is not for; "" without such an audit."""
    wanted = phase.attempts.audits().filter(state=AttemptState.WANTED).select_related("target").first()
    if wanted is None or wanted.target is None:
        return ""
    wanted.target.phase = phase
    return barred_from(wanted)


def must_be_another(audit: Attempt, agent: str) -> None:
    """Raise OwnPatch when agent wrote the patch that only another one may approve."""
    if agent and barred_from(audit) == agent:
        raise OwnPatch(f"{agent} wrote this patch: another Auditor must approve it")
