"""Streams as responses: the place of one that nobody reads is given back too."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from django.core import signals

from runs.api.streams import stream
from runs.waiting import waiters


def test_a_stream_that_was_never_read_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Generator[bytes]:
        while True:
            yield b"."

    # what Django does to connections at a request's end is not this test's affair
    monkeypatch.setattr(signals.request_finished, "send", lambda **_names: [])
    before = waiters.count
    answer = stream(endless(), content_type="text/plain", headers={})
    assert waiters.count == before + 1
    answer.close()
    assert waiters.count == before
