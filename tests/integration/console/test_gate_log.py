"""A gate's log: its end, what follows, what holds a text, and all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from autopack_site.kernel import clock
from integration.console import gate_log
from integration.models import GateRun
from tests.integration.console.rows import make_attempt, make_gate

pytestmark = pytest.mark.django_db


@pytest.fixture
def gate(settings: Any, tmp_path: Path) -> GateRun:
    settings.STATE_DIR = tmp_path
    return make_gate(make_attempt(), state="RUNNING", verdict="")


def write(gate: GateRun, data: bytes) -> None:
    path = gate_log.path_of(gate)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def finish(gate: GateRun) -> None:
    GateRun.objects.filter(pk=gate.pk).update(state="DONE", verdict="green", ended_at=clock.now())


def part(client: Client, gate: GateRun, offset: int | str) -> dict[str, Any]:
    answer = client.get(f"/admin/board/gates/{gate.pk}/log/?offset={offset}")
    assert answer.status_code == 200
    return dict(answer.json())


def test_what_follows_comes_in_whole_lines(operator: Client, gate: GateRun) -> None:
    write(gate, b"one\ntwo\nthr")
    assert part(operator, gate, 4) == {
        "html": "two\n", "next_offset": 8, "size_bytes": 11, "restarted": False, "ended": False,
    }  # fmt: skip


def test_an_unfinished_last_line_comes_when_the_gate_has_ended(operator: Client, gate: GateRun) -> None:
    write(gate, b"one\ntwo")
    finish(gate)
    found = part(operator, gate, 4)
    assert (found["html"], found["next_offset"], found["ended"]) == ("two", 7, True)


def test_a_log_that_is_not_there_yet_is_empty(operator: Client, gate: GateRun) -> None:
    assert part(operator, gate, 0) == {
        "html": "", "next_offset": 0, "size_bytes": 0, "restarted": False, "ended": False,
    }  # fmt: skip


def test_a_log_whose_middle_was_left_out_begins_anew(operator: Client, gate: GateRun) -> None:
    write(gate, b"short\n")
    found = part(operator, gate, 1000)
    assert (found["html"], found["next_offset"], found["restarted"]) == ("short\n", 6, True)


def test_a_part_has_no_more_than_a_window(operator: Client, gate: GateRun) -> None:
    write(gate, b"x" * 99 + b"\n" + b"y" * 3 * gate_log.WINDOW_BYTES)
    first = part(operator, gate, 0)
    second = part(operator, gate, first["next_offset"])
    assert first["next_offset"] == 100
    assert second["next_offset"] == 100 + gate_log.WINDOW_BYTES


@pytest.mark.parametrize("offset", ["", "-1", "x", "1" * 40, "%00", "²"])
def test_an_offset_that_is_none_is_the_start(operator: Client, gate: GateRun, offset: str) -> None:
    write(gate, b"one\n")
    assert part(operator, gate, offset)["html"] == "one\n"


def test_hostile_output_is_text(operator: Client, gate: GateRun) -> None:
    write(gate, "<script>x</script>\x1b[31m\u202e\x1b]0;title\x07\n".encode())
    html = part(operator, gate, 0)["html"]
    assert html.startswith("&lt;script&gt;")
    assert html.count('<span class="esc">') == 3


def test_lines_that_hold_a_text_are_found_in_any_letters_with_their_numbers(gate: GateRun) -> None:
    write(gate, b"one\nAn Error <b>\nthree\nerror again, ERROR\n")
    found = gate_log.search(gate, "eRRor")
    assert [number for number, _ in found.lines] == [2, 4]
    assert found.lines[0][1] == "An <mark>Error</mark> &lt;b&gt;"
    assert found.lines[1][1].count("<mark>") == 2
    assert not found.has_more


def test_a_text_is_found_across_the_pieces_that_are_read(
    gate: GateRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_log, "CHUNK_BYTES", 7)
    write(gate, b"abc\nneedle in hay\nrest without an end needle")
    assert [number for number, _ in gate_log.search(gate, "needle").lines] == [2, 3]


def test_what_is_found_is_bounded(gate: GateRun) -> None:
    write(gate, b"x" * 1000 + b"\n" + b"x\n" * (gate_log.FOUND_LINES + 5))
    found = gate_log.search(gate, "x")
    assert len(found.lines) == gate_log.FOUND_LINES
    assert found.has_more


def test_the_whole_log_is_sent_as_stored_as_a_file(operator: Client, gate: GateRun) -> None:
    data = b"\x1b[31m<b>\xff\n" * 200_000
    write(gate, data)
    answer = operator.get(f"/admin/board/gates/{gate.pk}/log/whole/")
    assert b"".join(answer) == data
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_a_gate_that_is_not_there_is_not_found(operator: Client, db: None) -> None:
    for name in ("none", "%00"):
        assert operator.get(f"/admin/board/gates/{name}/log/").status_code == 404
        assert operator.get(f"/admin/board/gates/{name}/log/whole/").status_code == 404
