"""What a production supervisor does: it starts again whatever worker has died. And the killer that makes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.flows.stack import Stack


@dataclass
class Supervised:
    """Some workers and a beat that are there again as soon as somebody looks."""

    stack: Stack
    workers: int = 2
    concurrency: int = 2
    extra: dict[str, str] | None = None
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    beats: list[subprocess.Popen[bytes]] = field(default_factory=list)
    restarts: int = 0

    def keep(self) -> None:
        """Start what is missing."""
        for kind, wanted, start in (
            (self.running, self.workers, self._worker),
            (self.beats, 1, self.stack.beat),
        ):
            dead = [process for process in kind if process.poll() is not None]
            self.restarts += len(dead)
            for process in dead:
                kind.remove(process)
            while len(kind) < wanted:
                kind.append(start())

    def _worker(self) -> subprocess.Popen[bytes]:
        return self.stack.worker(concurrency=self.concurrency, extra=self.extra)

    def until(self, check: Callable[[], object]) -> Callable[[], object]:
        """Return a check for `eventually` that keeps the processes running meanwhile."""

        def look() -> object:
            self.keep()
            return check()

        return look


@dataclass
class Killer:
    """Kills parents and pool children at random; the seed repeats the choices, not the moments."""

    supervised: Supervised
    chance: random.Random
    parents: float = 0.25
    count: Counter[str] = field(default_factory=Counter)

    def strike(self) -> bool:
        """Kill one process with SIGKILL; False when there is nothing to kill yet."""
        victim = self.chance.choice(self.supervised.running)
        children = self.supervised.stack.children(victim)
        if self.chance.random() < self.parents or not children:
            if not children:
                return False  # still starting: its death would be no fault at work
            self.supervised.stack.kill(victim, group=False)
            self.count["parents"] += 1
            return True
        try:
            os.kill(self.chance.choice(children), signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.count["children"] += 1
        return True
