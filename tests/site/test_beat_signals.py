"""Beat stops between two ticks, never in the middle of one, where it may hold a lock that its stopping needs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from celery import signals

import autopack_site.celery  # noqa: F401 (what is tested is what it connects)


class Scheduler:
    """What beat asks at each turn: how long it may sleep."""

    def __init__(self, tick_s: float, sleep_s: float) -> None:
        self.tick_s, self.sleep_s = tick_s, sleep_s
        self.told: list[str] = []

    def tick(self) -> float:
        self.told.append("begun")
        ends = time.monotonic() + self.tick_s
        while time.monotonic() < ends:
            pass
        self.told.append("ended")
        return self.sleep_s


class Beat:
    """Beat's service as Celery has it: a loop of ticks and sleeps that SystemExit ends."""

    def __init__(self, tick_s: float) -> None:
        self.scheduler = Scheduler(tick_s, 60.0)

    def start(self) -> None:
        try:
            while True:
                time.sleep(self.scheduler.tick())
        except SystemExit:
            self.scheduler.told.append("left")


@pytest.fixture
def _handlers() -> Iterator[None]:
    kept = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    yield
    for name, handler in kept.items():
        signal.signal(name, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("tick_s", [0.6, 0.0], ids=["in a tick", "asleep"])
def test_beat_ends_its_tick_and_is_woken_from_its_sleep(tick_s: float) -> None:
    beat = Beat(tick_s)
    signals.beat_init.send(sender=beat)
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    began = time.monotonic()
    beat.start()
    timer.join()
    assert beat.scheduler.told == ["begun", "ended", "left"]
    assert time.monotonic() - began < 30  # it would have slept for a minute
