"""Python looks for cycles seldom, and never at the code that a process has loaded; cycles still go."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest
from django.conf import settings

from autopack_site import garbage

LOADED = 50_000  # far below what Django alone makes


class Ring:
    def __init__(self) -> None:
        self.own = self


def test_cycles_are_found_after_some_ten_thousand_new_objects() -> None:
    assert gc.isenabled()
    assert gc.get_threshold() == (garbage.YOUNG, garbage.MIDDLE, garbage.OLD)
    lost = weakref.ref(Ring())
    kept: list[list[int]] = []
    while lost() is not None and len(kept) <= 2 * garbage.YOUNG:
        kept.append([len(kept)])
    assert lost() is None, f"{len(kept)} objects later it is still there"


@pytest.mark.parametrize(
    "start",
    [
        "import autopack_site.wsgi",
        "from celery import signals; import autopack_site.celery; signals.worker_init.send(sender=None)",
    ],
    ids=["web", "worker"],
)
def test_a_process_that_serves_keeps_its_code_out_of_every_look(start: str) -> None:
    script = (
        f"import django; django.setup(); {start}; import gc; print(gc.get_threshold(), gc.get_freeze_count())"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "autopack_site.settings"}
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    threshold, frozen = told.rsplit(maxsplit=1)
    assert threshold == f"({garbage.YOUNG}, {garbage.MIDDLE}, {garbage.OLD})"
    assert int(frozen) > LOADED
