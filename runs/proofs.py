"""What gates have proved of a run: the phases that landed by a gate that ran, and what each may vouch for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runs.lifecycle import AttemptState, PhaseState
from runs.models import Attempt, Run, Transition

TOUCHED_PATHS = "touched_paths"
"""Where an attempt's report keeps the files that its patch touches, old and new names, as the judge read them."""

# Each verdict that lets a candidate pass is noted under its name; a waived gate had no steps, so it proves nothing.
_PROVING = ("gate_green", "gate_flaky")
_PASSING = (*_PROVING, "gate_waived")


@dataclass(frozen=True, slots=True)
class Proof:
    """A COMPLETE phase whose merged candidate has passed a gate that ran.

    `scope` is what the plan declares (globs; none: any file), `touched` the files of the merged patch.
    """

    phase_id: str
    scope: tuple[str, ...]
    touched: tuple[str, ...]


def proofs_of(run: Run) -> list[Proof]:
    """Return the run's proved phases in their order. Two queries.

    A candidate that was rebuilt is gated anew: the last verdict of the merged attempt counts. A phase that was made
    COMPLETE with no candidate proves nothing.
    """
    events = Transition.objects.filter(run=run, machine="phase", event__in=_PASSING).order_by("id")
    last = {attempt: event for event, attempt in events.values_list("event", "data__attempt")}
    merged = Attempt.objects.filter(run=run, state=AttemptState.MERGED, phase__state=PhaseState.COMPLETE)
    rows = merged.order_by("phase__phase_index", "phase__phase_id").values_list(
        "pk", "phase__phase_id", "phase__scope", f"report__{TOUCHED_PATHS}"
    )
    return [
        Proof(phase_id, tuple(scope), tuple(touched or ()))
        for attempt, phase_id, scope, touched in rows
        if last.get(attempt) in _PROVING
    ]


def storable(paths: Iterable[str]) -> list[str]:
    """Return the paths that the database can hold, once each, in order: not those that are no text."""
    return sorted({path for path in paths if path.isprintable()})
