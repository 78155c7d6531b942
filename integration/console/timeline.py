"""When each phase of a run waited and worked, as geometry. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from runs.models import Phase, Run

MAX_ROWS = 60
ROW, LEFT, WIDTH = 20, 180, 960
_TONES = {"COMPLETE": "good", "FAILED": "bad", "SKIPPED": "wait"}


@dataclass(frozen=True)
class Span:
    """One phase's line: where its waiting and its work lie, in a drawing WIDTH wide."""

    phase: Phase
    y: int
    wait_x: float
    wait_width: float
    work_x: float
    work_width: float
    tone: str


@dataclass(frozen=True)
class Timeline:
    """The phases that have begun to wait, in plan order. `left_out` is how many more there are."""

    spans: tuple[Span, ...]
    left_out: int
    start: datetime
    end: datetime

    @property
    def height(self) -> int:
        """Return the height of the drawing."""
        return ROW * len(self.spans) + 4


def of(run: Run, phases: Sequence[Phase], now: datetime) -> Timeline:
    """Return the time line from the run's start to its end, or to now."""
    start = run.started_at or run.created_at
    end = max(run.completed_at or now, start)
    length = max((end - start).total_seconds(), 1.0)

    def x(moment: datetime) -> float:
        share = (moment - start).total_seconds() / length
        return round(LEFT + (WIDTH - LEFT) * min(max(share, 0.0), 1.0), 1)

    begun = [phase for phase in phases if phase.ready_at or phase.started_at]
    spans = []
    for number, phase in enumerate(begun[:MAX_ROWS]):
        last = phase.completed_at or end
        ready, worked = phase.ready_at or phase.started_at or start, phase.started_at or last
        ready = min(ready, worked)
        spans.append(
            Span(
                phase=phase,
                y=number * ROW,
                wait_x=x(ready),
                wait_width=round(max(x(worked) - x(ready), 0.0), 1),
                work_x=x(worked),
                work_width=round(max(x(last) - x(worked), 2.0), 1) if phase.started_at else 0.0,
                tone=_TONES.get(phase.state, "busy"),
            )
        )
    return Timeline(tuple(spans), max(len(begun) - MAX_ROWS, 0), start, end)
