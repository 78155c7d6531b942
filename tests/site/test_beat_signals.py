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


class Beat:
    """Beat's service as Celery has it: a loop of ticks and sleeps that ends when it is told, or by SystemExit."""

    def __init__(self, tick_s: float, sleep_s: float) -> None:
        self.tick_s, self.sleep_s = tick_s, sleep_s
        self.is_stopped = False
        self.ticks: list[str] = []

    def start(self) -> None:
        try:
            while not self.is_stopped:
                self._tick()
                time.sleep(self.sleep_s)
        except SystemExit:
            self.ticks.append("left")

    def _tick(self) -> None:
        self.ticks.append("begun")
        ends = time.monotonic() + self.tick_s
        while time.monotonic() < ends:
            pass
        self.ticks.append("ended")

    def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture
def _handlers() -> Iterator[None]:
    kept = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    yield
    for name, handler in kept.items():
        signal.signal(name, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize(
    ("tick_s", "sleep_s", "told"),
    [(0.6, 0.0, ["begun", "ended"]), (0.0, 60.0, ["begun", "ended", "left"])],
    ids=["in a tick", "asleep"],
)
def test_beat_ends_its_tick_and_is_woken_from_its_sleep(
    tick_s: float, sleep_s: float, told: list[str]
) -> None:
    beat = Beat(tick_s, sleep_s)
    signals.beat_init.send(sender=beat)
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    began = time.monotonic()
    beat.start()
    timer.join()
    assert beat.ticks == told
    assert time.monotonic() - began < 30
