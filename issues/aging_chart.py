"""How old a backlog's open entries are: counted in one query, drawn as bars. The drawing is pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Case, Count, F, QuerySet, Value, When
from django.db.models.functions import Coalesce, Least

from issues.aging import LIVE_STATUSES
from issues.models import BacklogEntry
from issues.severity import MAJOR, MINOR

# Of a whole backlog: by one join, not by a look at the tally for each entry.
JOINED_AGE = F("runs_offset") + Case(
    When(status__in=LIVE_STATUSES, then=Coalesce("project__backlog_tally__runs", 0)), default=0
)
OLDEST = 10  # runs; what is older shares the last bar
WIDTH, HEIGHT = 720, 220
LEFT, BOTTOM, TOP = 56, 34, 14
GAP = 0.25  # of a bar's place


@dataclass(frozen=True, slots=True)
class Ages:
    """Entries by status, and the live ones by (age in runs, at most OLDEST; effective severity)."""

    by_status: dict[str, int]
    live: dict[tuple[int, str], int]


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle of the drawing, in its units, and what it says."""

    x: float
    y: float
    width: float
    height: float
    severity: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A text beside an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The drawing. `limit_x` is where the entries begin that have reached the threshold."""

    bars: tuple[Bar, ...]
    ages: tuple[Tick, ...]
    counts: tuple[Tick, ...]
    limit_x: float | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    top: int = TOP
    floor: int = HEIGHT - BOTTOM


def count(entries: QuerySet[BacklogEntry]) -> Ages:
    """Count entries. One query, which reads them all."""
    rows = (
        entries.order_by()
        .annotate(age=Least(JOINED_AGE, Value(OLDEST)))
        .values_list("status", "age", "effective_severity")
        .annotate(entries=Count("*"))
    )
    by_status: Counter[str] = Counter()
    live: Counter[tuple[int, str]] = Counter()
    for status, age, severity, number in rows:
        by_status[status] += number
        if status in LIVE_STATUSES:
            live[age, severity] += number
    return Ages(dict(by_status), dict(live))


def draw(live: dict[tuple[int, str], int], *, threshold_runs: int | None) -> Chart:
    """Draw live entries by age, minor below major, to a scale that the highest bar fills."""
    tallest = max((_total(live, age) for age in range(OLDEST + 1)), default=0)
    top_count = _rounded_up(tallest)
    room = HEIGHT - BOTTOM - TOP
    place = (WIDTH - LEFT) / (OLDEST + 1)
    bars = [bar for age in range(OLDEST + 1) for bar in _stack(live, age, place, room / top_count)]
    labels = [
        Tick(LEFT + place * (age + 0.5), HEIGHT - BOTTOM + 16, f"{age}+" if age == OLDEST else str(age))
        for age in range(OLDEST + 1)
    ]
    steps = [
        Tick(LEFT - 8, HEIGHT - BOTTOM - room * part / 2, f"{top_count * part // 2:,}") for part in range(3)
    ]
    limit = None
    if threshold_runs is not None and threshold_runs <= OLDEST:
        limit = round(LEFT + place * threshold_runs, 1)
    return Chart(tuple(bars), tuple(labels), tuple(steps), limit)


def _stack(live: dict[tuple[int, str], int], age: int, place: float, scale: float) -> Iterable[Bar]:
    x = LEFT + place * (age + GAP / 2)
    floor = float(HEIGHT - BOTTOM)
    for severity in (MINOR, MAJOR):
        number = live.get((age, severity), 0)
        if number:
            height = number * scale
            floor -= height
            runs = f"{age} or more" if age == OLDEST else str(age)
            title = f"{number:,} {severity}, open for {runs} runs"
            yield Bar(
                round(x, 1), round(floor, 1), round(place * (1 - GAP), 1), round(height, 1), severity, title
            )


def _total(live: dict[tuple[int, str], int], age: int) -> int:
    return live.get((age, MINOR), 0) + live.get((age, MAJOR), 0)


def _rounded_up(number: int) -> int:
    """Return the next 2, 4, 6, 8 or 10 times a power of ten: an axis whose half is a whole number."""
    power = 1
    while number > 10 * power:
        power *= 10
    return next(step * power for step in (2, 4, 6, 8, 10) if step * power >= number)
