"""A run as it goes, for people: what to show (`look`), and the terminal that shows it (`follow`).

Reads the database only, so it may start late, stop early or run twice. Names, notes and reasons come from plans
and agents: they are shown as plain text, without control characters.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autopack_site.kernel import clock
from runs.caps import shown as shown_amount
from runs.doing import doing
from runs.lifecycle import SHOW_EVENTS, AttemptState
from runs.models import Attempt, Run, Transition

INTERVAL_S = 0.3
TICKER_LINES = 8
# How long a watched run may be silent before it is said what it does: soon where nobody is at work.
WAITING_S = 3.0
SILENCE_S = 30.0
MAX_WHY = 160
PIPE_WIDTH = 120

_RESULTS = {
    AttemptState.SUBMITTED: "judged",
    AttemptState.CANDIDATE: "waits for gate",
    AttemptState.GATING: "in gate",
    AttemptState.GREEN: "green",
    AttemptState.MERGING: "green",
    AttemptState.MERGED: "green",
    AttemptState.RED: "red",
    AttemptState.REFUSED: "refused",
    AttemptState.FAILED: "failed",
    AttemptState.LOST: "lost",
    AttemptState.DROPPED: "dropped",
}
# what a green candidate's gate was, where that is less than green: by the events that say so
_LESS_THAN_GREEN = {"gate_waived": "waived", "gate_flaky": "flaky"}
_ECHOES = frozenset(SHOW_EVENTS.values())
_STYLES = {
    "COMPLETE": "green", "FAILED": "red", "SKIPPED": "yellow", "QUEUED": "dim", "EXECUTING": "cyan",
    "GATE": "magenta", "CI_RUNNING": "magenta",
}  # fmt: skip

# Widths that hold the usual words, so that the table doesn't jump while it is watched.
_COLUMNS = (
    ("tier", 4),
    ("phase", 5),
    ("state", 10),
    ("attempt", 7),
    ("result", 10),
    ("audit", 7),
    ("tokens", 6),
)


@dataclass(frozen=True)
class PhaseLine:
    """One phase as it stands. `results` (of builds) and `audits` are words in the order in which things happened."""

    phase_id: str
    tier_id: str
    name: str
    state: str
    attempt: int
    results: tuple[str, ...]
    audits: tuple[str, ...]
    tokens: str
    cost: str


@dataclass(frozen=True)
class Event:
    """One line of the history."""

    id: int
    at: datetime
    subject: str
    event: str
    state: str
    who: str
    why: str
    version: int | None

    def line(self) -> str:
        """Return the event as one line of text."""
        arrow = f" -> {self.state}" if self.version is not None else ""
        why = f"  ({self.why})" if self.why else ""
        return f"{self.at:%H:%M:%S}  {self.subject}: {self.event}{arrow}{why}"

    @property
    def is_echo(self) -> bool:
        """Tell whether it only shows on the run what a phase's own event has said."""
        return self.subject == "run" and self.event in _ECHOES


@dataclass(frozen=True)
class View:
    """A run at one moment. `events` are those after the id that `look` was given."""

    run: Run
    phases: tuple[PhaseLine, ...]
    events: tuple[Event, ...]


def plain(text: str, limit: int = MAX_WHY) -> str:
    """Return text on one line, without control characters, at most `limit` characters long."""
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 3] + "..."


def look(run_id: str, *, after: int = 0) -> View:
    """Return the run as it stands, with its events whose id is above `after`. Raises Run.DoesNotExist."""
    # Events first: a state read later is never older than the history that is shown with it.
    events = tuple(_event(row) for row in Transition.objects.filter(run=run_id, id__gt=after).order_by("id"))
    run = Run.objects.select_related("project").get(pk=run_id)
    attempts: dict[int, list[Attempt]] = {}
    for attempt in run.attempts.defer("patch").order_by("created_at", "id"):
        attempts.setdefault(attempt.phase_id, []).append(attempt)
    passed = Transition.objects.filter(run=run_id, event__in=_LESS_THAN_GREEN).order_by("id")
    gates = {
        data.get("attempt"): _LESS_THAN_GREEN[event] for event, data in passed.values_list("event", "data")
    }
    phases = run.phases.select_related("tier").order_by("tier__tier_index", "phase_index", "phase_id")
    return View(run, tuple(_line(phase, attempts.get(phase.pk, []), gates) for phase in phases), events)


def _event(row: Transition) -> Event:
    subject = row.machine if row.machine == "run" else f"{row.machine} {plain(row.subject, 60)}"
    return Event(
        row.id,
        row.at,
        subject,
        plain(row.event),
        row.to_state,
        plain(row.who, 60),
        plain(row.why),
        row.version,
    )


def _line(phase: Any, attempts: list[Attempt], gates: Mapping[Any, str]) -> PhaseLine:
    builds = [attempt for attempt in attempts if attempt.kind != Attempt.Kind.AUDIT]
    audits = [attempt for attempt in attempts if attempt.kind == Attempt.Kind.AUDIT]
    used = [attempt.tokens_used for attempt in attempts]
    return PhaseLine(
        phase_id=phase.phase_id,
        tier_id=phase.tier.tier_id,
        name=plain(phase.name, 48),
        state=phase.state,
        attempt=len(builds),
        results=tuple(_result(build, gates) for build in builds if build.state in _RESULTS),
        audits=tuple(audit.verdict or "asked" for audit in audits),
        # what is not known is not 0
        tokens="?"
        if any(value is None for value in used) and not phase.tokens_used
        else f"{phase.tokens_used:,}",
        cost=shown_amount("micro_usd", phase.cost_micro_usd) if phase.cost_micro_usd else "",
    )


def _result(build: Attempt, gates: Mapping[Any, str]) -> str:
    word = _RESULTS[AttemptState(build.state)]
    return gates.get(build.pk, word) if word == "green" else word


def table(view: View) -> Table:
    """Return the phases as a table."""
    title = Text.assemble((view.run.run_id, "bold"), "  ", (view.run.state, _run_style(view.run)))
    grid = Table(title=title, title_justify="left")
    costs = any(line.cost for line in view.phases)
    for heading, least in (*_COLUMNS, *((("cost", 6),) if costs else ())):
        grid.add_column(
            heading, justify="right" if heading in ("attempt", "tokens", "cost") else "left", min_width=least
        )
    tier = ""
    for line in view.phases:
        grid.add_row(
            Text(line.tier_id if line.tier_id != tier else ""),
            Text(line.name),
            Text(line.state, style=_STYLES.get(line.state, "")),
            str(line.attempt or ""),
            _words(line.results),
            _words(line.audits),
            line.tokens,
            *((line.cost,) if costs else ()),
        )
        tier = line.tier_id
    return grid


def _words(words: tuple[str, ...]) -> Text:
    styles = {
        "red": "red", "green": "green", "waived": "yellow", "flaky": "yellow", "revise": "yellow", "approve": "green",
        "escalate": "red",
    }  # fmt: skip
    text = Text()
    for index, word in enumerate(words):
        text.append(", " if index else "")
        text.append(word, style=styles.get(word, ""))
    return text


def _run_style(run: Run) -> str:
    if not run.is_terminal:
        return "cyan"
    return "bold green" if run.state == "DONE_SUCCESS" else "bold red"


def console() -> Console:
    """Return the console of standard output; into a file or a pipe, tables get room enough."""
    made = Console()
    return made if made.is_terminal else Console(width=PIPE_WIDTH)


def wants_live(console: Console) -> bool:
    """Tell whether the console can show a picture that changes; logs of CI get lines."""
    return console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI")


class _Silence:
    """Says what a run does when it has had no event for a while: what is waited for at once, work now and then."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self.broken()

    def broken(self) -> None:
        """Begin anew: there was an event."""
        self._since = time.monotonic()
        self._next_s = WAITING_S

    def lines(self) -> list[str]:
        """Return what there is to be said now, mostly nothing."""
        lasted_s = time.monotonic() - self._since
        if lasted_s < self._next_s:
            return []
        is_first = self._next_s == WAITING_S
        self._next_s = SILENCE_S if is_first else lasted_s + SILENCE_S
        return [
            plain(line.text, PIPE_WIDTH) for line in doing(self._run_id) if line.is_waiting or not is_first
        ]


def follow(
    run_id: str,
    console: Console,
    *,
    shows_all: bool = False,
    deadline_s: float | None = None,
    on_event: Callable[[Event], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Run:
    """Show the run until it ends and return it; stop after `deadline_s` seconds whatever its state.

    On a terminal: the phases' table and the latest events. Elsewhere a line an event and the table last. Or
    what `on_event` does with events, and no table. Of the run's own events those that only echo a phase's are left
    out, unless `shows_all`. While nothing happens it says what is waited for, and who works. `check` is called at
    each look, and ends the watch by raising.
    """
    ends_at = None if deadline_s is None else time.monotonic() + deadline_s
    ticker: deque[Event] = deque(maxlen=TICKER_LINES)
    is_live = on_event is None and wants_live(console)
    live = Live(console=console, auto_refresh=False, transient=True) if is_live else None
    say = on_event or (lambda event: console.print(Text(event.line()), soft_wrap=True))
    silence = _Silence(run_id)
    last = 0
    last_look: View | None = None
    try:
        if live is not None:
            live.start()
        while True:
            view = look(run_id, after=last)
            last = view.events[-1].id if view.events else last
            shown = [event for event in view.events if shows_all or on_event or not event.is_echo]
            if shown:
                silence.broken()
            still = [] if on_event is not None or view.run.is_terminal else silence.lines()
            if live is None:
                for event in shown:
                    say(event)
                for line in still:
                    console.print(Text(f"{clock.now():%H:%M:%S}  ... {line}", style="dim"), soft_wrap=True)
            else:
                ticker.extend(shown)
                if view.events or still or not last_look:  # nothing moves without an event
                    live.update(_picture(view, ticker, still), refresh=True)
            last_look = view
            is_late = ends_at is not None and time.monotonic() > ends_at
            if view.run.is_terminal or is_late:
                return view.run
            if check is not None:
                check()
            time.sleep(INTERVAL_S)
    finally:
        if live is not None:
            live.stop()
        if last_look is not None and on_event is None:
            console.print(table(last_look))


def _picture(view: View, ticker: deque[Event], still: list[str]) -> RenderableType:
    texts = [event.line() for event in ticker] + [f"... {line}" for line in still]
    lines = [Text(text, style="dim", overflow="ellipsis", no_wrap=True) for text in texts]
    return Group(table(replace(view, events=())), Text(""), *lines)
