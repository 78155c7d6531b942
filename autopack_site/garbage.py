"""How often Python looks for reference cycles.

Python's own measure, a look after 700 new objects, is made for small programs: a process that has loaded Django,
Celery and this code holds a hundred thousand objects that never die, and looks at them again and again. Measured: a
tenth of a worker's start, a quarter of what the tests compute. Here it looks seldom, and never at what was there when
the work began (the documentation of Python's `gc` module: `set_threshold`, `freeze`).
What is in no cycle is freed at once, as ever.
"""

from __future__ import annotations

import gc

# New objects between two looks (some megabytes), and how many looks are between those at what is older.
YOUNG, MIDDLE, OLD = 10_000, 10, 10


def look_seldom() -> None:
    """Set the measure for this process and those that it forks."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def keep_what_is_loaded() -> None:
    """Take all that lives now out of every later look; called when a process has loaded its code."""
    gc.collect()
    gc.freeze()
