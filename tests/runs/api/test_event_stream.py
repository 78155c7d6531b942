"""A run's events as server-sent events: resumed, ended, bounded, and without a line of agents' own making."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from runs import services
from runs.api import events
from runs.models import Phase, Transition
from runs.transitions import note
from runs.waiting import waiters
from strategy.models import Project
from tests.runs.api.conftest import Api, problem_of, start

pytestmark = pytest.mark.django_db
URL = "/runs/r1/events/stream"


def messages(answer: Any) -> list[dict[str, str]]:
    """Return the messages of a stream that ends, comments and `retry` left out."""
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/event-stream"
    blocks = answer.getvalue().decode().split("\n\n")
    rows = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if block]
    return [row for row in rows if "event" in row]


@pytest.fixture
def ended(project: Project, operator: Api) -> str:
    start(operator)
    operator.post("/runs/r1/cancel", {"why": "line\n\nevent: forged\ndata: x"})
    return "r1"


def test_an_ended_runs_stream_holds_its_history_and_an_end(ended: str, reader: Api):
    found = messages(reader.get(URL))
    rows = list(Transition.objects.order_by("id"))
    assert [row["event"] for row in found] == [f"{row.machine}.{row.event}" for row in rows] + ["end"]
    assert [int(row["id"]) for row in found[:-1]] == [row.pk for row in rows]
    assert json.loads(found[0]["data"]) == reader.get("/runs/r1/events?limit=1").json()["events"][0]
    assert "id" not in found[-1]


def test_the_list_streams_to_who_accepts_only_that(ended: str, reader: Api):
    answer = reader.get("/runs/r1/events", headers={"Accept": "text/event-stream"})
    assert messages(answer)[-1]["event"] == "end"


def test_a_stream_is_resumed_after_the_last_event_seen(ended: str, reader: Api):
    everything = messages(reader.get(URL))
    third = everything[2]["id"]
    assert messages(reader.get(URL, headers={"Last-Event-ID": third})) == everything[3:]
    assert messages(reader.get(f"{URL}?after={third}")) == everything[3:]


def test_with_nothing_left_to_come_a_client_is_told_to_stop(ended: str, reader: Api):
    last = Transition.objects.order_by("id").last()
    assert last is not None
    answer = reader.get(URL, headers={"Last-Event-ID": str(last.pk)})
    assert (answer.status_code, "Retry-After" in answer) == (204, False)


def test_a_live_runs_stream_tells_what_happens_until_it_ends(
    project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch
):
    start(operator)
    monkeypatch.setattr(time, "sleep", lambda _s: services.cancel_run("r1", by="tests", why="enough"))
    found = messages(operator.get(URL))
    assert [row["event"] for row in found][-2:] == ["run.cancelled", "end"]


def test_a_quiet_stream_beats_and_ends_in_time(
    project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch
):
    start(operator)
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    after = Transition.objects.order_by("id").last()
    assert after is not None
    parts = list(events.sse("r1", after.pk, limit_s=100.0))
    assert parts[0] == b"retry: 2000\n\n"
    assert set(parts[1:]) == {b": heartbeat\n\n"}


def test_a_full_house_sends_the_caller_away_for_a_while(ended: str, reader: Api, settings: Any):
    settings.MAX_WAITERS = 0
    answer = reader.get(URL)
    assert (answer.status_code, answer["Retry-After"], answer.content) == (204, "2", b"")


def test_a_streams_place_is_free_again_when_the_client_has_gone(ended: str, reader: Api):
    answer = reader.get(URL)
    next(answer.streaming_content)
    assert waiters.count == 1
    answer._iterator.close()
    assert waiters.count == 0


def test_a_bad_event_id_says_where(ended: str, reader: Api):
    for text in ("x", "-1", "1" * 30, "٣"):
        body = problem_of(
            reader.get(URL, headers={"Last-Event-ID": text.encode().decode("latin-1")}), 422, "invalid"
        )
        assert body["detail"][0]["loc"] == ["header", "Last-Event-ID"]


def test_what_a_client_accepts_does_not_change_a_refusal(reader: Api):
    problem_of(
        reader.get("/runs/r9/events/stream", headers={"Accept": "text/event-stream"}), 404, "run-not-found"
    )


def test_no_word_of_an_agent_begins_a_field(project: Project, operator: Api):
    start(operator)
    note(Phase.objects.get(), "late_result", who="a\rid: 1", why="b\n\nevent: x\u2028")
    parts = list(events.sse("r1", 0, limit_s=0.0))
    assert all(part.count(b"\n\n") == 1 and part.endswith(b"\n\n") and b"\r" not in part for part in parts)
