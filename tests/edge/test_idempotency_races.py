"""Repeats that come while the first is at work, or after it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.db import connections
from django.test import Client

from autopack_site.kernel import clock
from runs import idempotency, services, waiting
from runs.models import KeptAnswer, Run
from strategy.models import Project
from tests.runs.api.conftest import Api, plan, problem_of

pytestmark = pytest.mark.django_db
DEADLINE_S = 20.0
KEY = {"Idempotency-Key": "job-7"}


def content_of(answer: Any) -> tuple[int, bytes, str | None, str | None]:
    return answer.status_code, answer.content, answer.get("Content-Type"), answer.get("Link")


def at_work(operator: Api, body: Any) -> None:
    """Leave a row as a request that is still at work has it."""
    operator.post("/runs/start", body, KEY)
    KeptAnswer.objects.update(status=None, body=None, owner_until=clock.database_now() + timedelta(hours=1))


def test_a_first_request_that_is_still_at_work_is_409(project: Project, operator: Api, settings: Any):
    settings.IDEMPOTENCY_WAIT_S = 0.0
    at_work(operator, plan())
    answer = operator.post("/runs/start", plan(), KEY)
    problem_of(answer, 409, "in-progress")
    assert answer["Retry-After"] == "1"
    problem_of(operator.post("/runs/start", plan("r2"), KEY), 409, "key-reused")


def test_those_that_wait_for_it_are_bounded(project: Project, operator: Api, settings: Any):
    settings.MAX_WAITERS = 0
    at_work(operator, plan())
    problem_of(operator.post("/runs/start", plan(), KEY), 409, "in-progress")


def test_one_that_was_overtaken_changes_no_answer(project: Project, operator: Api):
    first = idempotency.begin("d", "f")
    assert isinstance(first, idempotency.Turn)
    KeptAnswer.objects.update(owner_until=clock.database_now())
    second = idempotency.begin("d", "f")
    assert isinstance(second, idempotency.Turn)
    first.give_back()
    first.keep(idempotency.Kept(200, {}, b"first"))
    assert KeptAnswer.objects.get().status is None
    second.keep(idempotency.Kept(200, {}, b"second"))
    assert idempotency.begin("d", "f") == idempotency.Kept(200, {}, b"second")


class Sluggish:
    """Stands in for services.start_run: says when it is called, and goes on when it may."""

    def __init__(self, real: Callable[..., Any], *, fails: bool = False) -> None:
        self.real, self.fails = real, fails
        self.called, self.may_go_on = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        self.called.set()
        assert self.may_go_on.wait(DEADLINE_S)
        if self.fails and self.calls == 1:
            raise RuntimeError("broken")
        return self.real(*args, **kwargs)


def together(operator: Api, sluggish: Sluggish) -> list[Any]:
    """Send the same start on two connections, the second while the first is at work; return both answers."""
    answers: list[Any] = [None, None]

    def send(number: int) -> None:
        try:
            answers[number] = Api(Client(), operator.token).post("/runs/start", plan(), KEY)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    threads[0].start()
    assert sluggish.called.wait(DEADLINE_S)
    threads[1].start()
    deadline = time.monotonic() + DEADLINE_S
    while waiting.waiters.count == 0 and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert waiting.waiters.count == 1
    sluggish.may_go_on.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    return answers


@pytest.mark.django_db(transaction=True)
def test_a_repeat_waits_for_the_first_and_answers_the_same(
    project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch
):
    sluggish = Sluggish(services.start_run)
    monkeypatch.setattr(services, "start_run", sluggish)
    first, second = together(operator, sluggish)
    assert first.status_code == 201
    assert content_of(first) == content_of(second)
    assert (sluggish.calls, Run.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_repeat_does_what_the_first_failed_to_do(
    project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch
):
    sluggish = Sluggish(services.start_run, fails=True)
    monkeypatch.setattr(services, "start_run", sluggish)
    first, second = together(operator, sluggish)
    assert [first.status_code, second.status_code] == [500, 201]
    assert (sluggish.calls, Run.objects.count()) == (2, 1)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_is_carried_out(project: Project, operator: Api):
    answers: list[Any] = []
    barrier = threading.Barrier(8)

    def send() -> None:
        try:
            api = Api(Client(), operator.token)
            barrier.wait(DEADLINE_S)
            answers.append(api.post("/runs/start", plan(), KEY))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({content_of(answer) for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer for answer in answers) == 1


KILLED = """
import os, signal, sys
import django
django.setup()
from django.test import Client
from runs import services
services.start_run = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
Client().post("/runs/start", sys.argv[2], "application/json",
              headers={"host": "127.0.0.1", "authorization": "Bearer " + sys.argv[1],
                       "idempotency-key": "job-7"})
"""


@pytest.mark.django_db(transaction=True)
def test_a_killed_process_holds_its_key_only_for_a_time(
    project: Project, operator: Api, settings: Any, child_environment: dict[str, str]
):
    settings.IDEMPOTENCY_WAIT_S = 0.0
    body = json.dumps(plan())
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(operator.token), body],
        env={**child_environment, "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"]},
        cwd=Path(site.BASE_DIR),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    problem_of(operator.post("/runs/start", body, KEY), 409, "in-progress")
    KeptAnswer.objects.update(owner_until=clock.database_now())
    problem_of(operator.post("/runs/start", plan("r2"), KEY), 409, "key-reused")
    assert operator.post("/runs/start", body, KEY).status_code == 201
    assert operator.post("/runs/start", body, KEY)["Idempotency-Replayed"] == "true"
