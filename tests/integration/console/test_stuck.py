"""Stuck work: what the page finds, and what a person may do about it, confirmed and written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from autopack_site.roles import create_roles
from integration import retries
from integration.models import GateRun, GitIntent
from runs import outbox
from runs import retries as run_retries
from runs.errors import RunEnded, RunNotFound
from runs.models import Attempt, Lease, Outbox, Phase, Run
from tests.integration.artefacts import builders

pytestmark = pytest.mark.django_db
PAGE = "/admin/stuck/"
HOUR = timedelta(hours=1)
HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose messages went out."""
    found: list[str] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, **_: found.append(name))
    return found


def person(role: str) -> Client:
    create_roles()
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def an_hour_ago() -> Any:
    return clock.database_now() - HOUR


def stuck_work(**fields: Any) -> Outbox:
    values = {
        "topic": "run.step", "key": "r1", "reference": {"run_id": "r1"}, "due_at": an_hour_ago(), "sends": 1,
        "sent_at": an_hour_ago(), "created_at": an_hour_ago(),
    }  # fmt: skip
    return Outbox.objects.create(**{**values, **fields})


def attempt() -> Attempt:
    run = Run.objects.first() or builders.make_run()
    phase = Phase.objects.first() or builders.make_phase(
        builders.make_tier(run), limits={**builders.LIMITS, "max_attempt_tokens": 1_000}
    )
    return builders.make_attempt(phase, number=Attempt.objects.count() + 1)


def stuck_lease() -> Lease:
    held = attempt()
    return Lease.objects.create(
        run=held.run, phase=held.phase, attempt=held, owner=HOSTILE, fence=1, ttl_s=60.0,
        acquired_at=an_hour_ago(), expires_at=an_hour_ago(),
    )  # fmt: skip


def stuck_gate(**fields: Any) -> GateRun:
    values = {"state": "WAITING", "verdict": "", "ended_at": None, "deadline_at": clock.database_now() + HOUR}
    return builders.make_gate(attempt(), **{**values, **fields})


def stuck_move(**fields: Any) -> GitIntent:
    moved = attempt()
    values = {
        "ref": "refs/heads/autonomous/r1", "tag_ref": "refs/tags/x", "old_sha": "a" * 40, "new_sha": "b" * 40,
        "due_at": an_hour_ago(), "created_at": an_hour_ago(), "reason": HOSTILE,
    }  # fmt: skip
    return GitIntent.objects.create(run=moved.run, attempt=moved, **{**values, **fields})


def shown(client: Client) -> dict[str, list[Any]]:
    sections = client.get(PAGE).context["sections"]
    return {section.kind.name: [row.pk for row in section.rows] for section in sections if section.rows}


# --- what is found ---------------------------------------------------------------------------------------


def test_a_sound_system_has_an_empty_page() -> None:
    now = clock.database_now()
    stuck_work(due_at=now + HOUR)
    stuck_work(key="late", due_at=now - timedelta(seconds=5))  # a sweep's next look
    stuck_gate(state="RUNNING", lease_expires_at=now + HOUR)
    page = person("viewer").get(PAGE)
    assert page.context["is_sound"] is True
    assert "Nothing is stuck" in page.content.decode()


def test_each_kind_of_stuck_work_is_found() -> None:
    now = clock.database_now()
    due, often = stuck_work(), stuck_work(key="often", due_at=now + HOUR, sends=7)
    lease, gate, move = stuck_lease(), stuck_gate(deadline_at=now - HOUR), stuck_move()
    Run.objects.update(deadline_at=now - HOUR)
    found = shown(person("viewer"))
    assert found == {
        "work": [due.pk, often.pk], "lease": [lease.pk], "run": ["r1"], "gate": [gate.pk], "move": [move.pk]
    }  # fmt: skip


def test_a_gate_whose_worker_vanished_and_a_move_given_up_are_found() -> None:
    gate = stuck_gate(state="RUNNING", lease_expires_at=an_hour_ago())
    move = stuck_move(state="CONFLICT", ended_at=an_hour_ago())
    assert shown(person("viewer")) == {"gate": [gate.pk], "move": [move.pk]}


def test_the_page_takes_as_many_statements_for_many_rows_as_for_one() -> None:
    client, costs = person("operator"), []
    for number in range(2):
        for index in range(1 + 6 * number):
            stuck_work(key=f"{number}-{index}")
        stuck_gate(deadline_at=an_hour_ago()) if not number else None
        client.get(PAGE)
        with CaptureQueriesContext(connection) as captured:
            assert client.get(PAGE).status_code == 200
        costs.append(len(captured))
    assert costs[0] == costs[1]


def test_what_others_wrote_is_shown_as_text() -> None:
    stuck_work(key=HOSTILE)
    stuck_lease()
    stuck_move()
    text = person("operator").get(PAGE).content.decode()
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3


# --- what is done ----------------------------------------------------------------------------------------


def test_nothing_is_done_before_a_reason_is_given(sent: list[str]) -> None:
    row, client = stuck_work(), person("operator")
    path = f"{PAGE}work/{row.pk}/"
    assert client.get(path).status_code == 200
    assert "Say why" in client.post(path, {"why": " "}).content.decode()
    assert (sent, LogEntry.objects.count()) == ([], 0)


def test_work_is_sent_again_and_the_audit_trail_says_so(
    sent: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    row, client = stuck_work(), person("operator")
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(f"{PAGE}work/{row.pk}/", {"why": "the queue was lost"})
    assert answer.headers["Location"] == PAGE
    assert sent == ["runs.tasks.step"]
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("operator", str(row.pk))
    assert entry.change_message == "Sent run.step again. Why: the queue was lost"


@pytest.mark.parametrize("kind", ["lease", "run"])
def test_a_run_is_woken(kind: str) -> None:
    lease = stuck_lease()
    key = lease.pk if kind == "lease" else lease.run_id
    person("operator").post(f"{PAGE}{kind}/{key}/", {"why": "it sleeps"})
    assert Outbox.objects.get().topic == "run.step"
    assert LogEntry.objects.get().change_message == "Woke the run. Why: it sleeps"


def test_a_refusal_is_told_with_its_reason_and_not_written_down() -> None:
    gate = stuck_gate(state="DONE", verdict="green")
    page = person("operator").post(f"{PAGE}gate/{gate.pk}/", {"why": "try"}, follow=True)
    assert "has ended: green (gate-ended)" in page.content.decode()
    assert not LogEntry.objects.exists()


def test_a_viewer_sees_and_does_nothing(sent: list[str]) -> None:
    row, client = stuck_work(), person("viewer")
    assert "Send again" not in client.get(PAGE).content.decode()
    assert client.get(f"{PAGE}work/{row.pk}/").status_code == 403
    assert client.post(f"{PAGE}work/{row.pk}/", {"why": "x"}).status_code == 403
    assert (sent, LogEntry.objects.count()) == ([], 0)


@pytest.mark.parametrize(
    "path", ["work/0/", "work/x/", "work/99999999999999999999/", "run/none/", "nothing/1/", "gate/%00/"]
)
def test_what_is_not_there_is_not_found(path: str) -> None:
    assert person("operator").post(f"{PAGE}{path}", {"why": "x"}).status_code == 404


# --- the services ----------------------------------------------------------------------------------------


def test_work_that_is_done_is_not_sent_again() -> None:
    with pytest.raises(run_retries.WorkDone):
        run_retries.send_again(7)


def test_work_that_no_task_serves_is_not_sent() -> None:
    with pytest.raises(run_retries.UnknownTopic):
        run_retries.send_again(stuck_work(topic="of.another.release").pk)


def test_work_that_was_put_off_is_so_no_longer() -> None:
    row = stuck_work(sent_at=None, sends=0, due_at=clock.database_now() + HOUR)
    assert outbox.is_put_off(row.topic, row.key)
    run_retries.send_again(row.pk)
    assert not outbox.is_put_off(row.topic, row.key)


def test_a_run_that_has_ended_or_never_was_is_not_woken() -> None:
    run = builders.make_run(state="DONE_SUCCESS", completed_at=clock.now())
    with pytest.raises(RunEnded):
        run_retries.wake_run(run.pk)
    with pytest.raises(RunNotFound):
        run_retries.wake_run("ghost")


def test_a_waiting_gate_is_sent_again() -> None:
    gate = stuck_gate()
    assert retries.retry_gate(gate.pk) == "Sent again"
    assert (Outbox.objects.get().topic, Outbox.objects.get().key) == ("gate.run", gate.pk)


def test_a_gate_is_taken_from_a_worker_that_vanished_and_not_from_one_at_work() -> None:
    gate = stuck_gate(state="RUNNING", lease_expires_at=an_hour_ago(), fence=3)
    assert retries.retry_gate(gate.pk) == "Taken back from its worker and sent again"
    gate.refresh_from_db()
    assert (gate.state, gate.fence) == ("WAITING", 4)
    GateRun.objects.update(state="RUNNING", lease_expires_at=clock.database_now() + HOUR)
    with pytest.raises(retries.GateAtWork):
        retries.retry_gate(gate.pk)


def test_a_gate_past_its_deadline_ends_without_a_verdict_about_the_code() -> None:
    gate = stuck_gate(deadline_at=an_hour_ago())
    assert retries.retry_gate(gate.pk) == "Ended past its deadline"
    gate.refresh_from_db()
    assert (gate.state, gate.verdict) == ("DONE", "infra_failed")


def test_an_unknown_gate_or_move_is_not_found() -> None:
    for retry in (retries.retry_gate, retries.retry_move):
        with pytest.raises(retries.NoSuchWork):
            retry("none")


def test_a_move_that_waits_is_due_at_once() -> None:
    move = stuck_move(due_at=clock.database_now() + HOUR)
    assert retries.retry_move(move.pk) == "Due at once"
    assert GitIntent.objects.due(clock.database_now()).get() == move


def test_the_undoing_of_a_move_that_was_given_up_is_sent_again() -> None:
    move = stuck_move(state="CONFLICT", ended_at=an_hour_ago())
    assert retries.retry_move(move.pk) == "Its undoing was sent again"
    assert Outbox.objects.get().topic == "move.undo"


def test_a_move_that_is_done_is_left_alone() -> None:
    move = stuck_move(state="DONE", ended_at=an_hour_ago())
    with pytest.raises(retries.MoveDone):
        retries.retry_move(move.pk)
