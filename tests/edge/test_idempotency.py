"""`Idempotency-Key`: a POST that comes again is carried out once."""

from __future__ import annotations

import json
import os
import re
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
from django.db import DatabaseError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError
from runs import idempotency, services, tasks, waiting
from runs.api.runs import StartView
from runs.api.views import AgentView
from runs.models import ApiToken, KeptAnswer, Run, TokenEntry
from strategy.models import Project
from tests.edge.routes import Route, routes
from tests.runs.api.conftest import Api, api_for, plan, problem_of, start
from tests.runs.api.test_claims import claim, end_lease

pytestmark = pytest.mark.django_db
DEADLINE_S = 20.0
KEY = {"Idempotency-Key": "job-7"}
POSTS = [route for route in routes() if route.method == "POST"]


def content_of(answer: Any) -> tuple[int, bytes, str | None, str | None]:
    return answer.status_code, answer.content, answer.get("Content-Type"), answer.get("Link")


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.name)
def test_every_post_takes_a_key(project: Project, operator: Api, route: Route):
    first = operator.post(route.path(), {"surprise": 1}, KEY)
    again = operator.post(route.path(), {"surprise": 1}, KEY)
    assert content_of(again) == content_of(first)
    assert (first.get("Idempotency-Replayed"), again.get("Idempotency-Replayed")) == (None, "true")
    problem_of(operator.post(route.path(), {"surprise": 2}, KEY), 409, "key-reused")


def test_every_post_is_served_below_the_one_base_class():
    assert len(POSTS) >= 10
    for route in POSTS:
        assert issubclass(route.view.view_class, AgentView), route.name


def test_a_repeated_start_answers_the_run_and_starts_nothing(project: Project, operator: Api):
    first = operator.post("/runs/start", plan(), KEY)
    again = operator.post("/runs/start", plan(), KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert content_of(again) == content_of(first)
    assert Run.objects.count() == 1
    problem_of(operator.post("/runs/start", plan(), {"Idempotency-Key": "other"}), 400, "run-exists")


def test_a_repeat_has_the_links_of_the_first_answer(project: Project, operator: Api):
    tiers = "\n".join(
        f"## Tier {tier}\n" + "\n".join(f"- Write page {tier}.{number}" for number in range(20))
        for tier in (1, 2)
    )
    body = {"run": {"run_id": "doc"}, "plan": f"# Plan\n\n{tiers}\n"}
    first, again = (operator.post("/runs/start", body, KEY) for _ in range(2))
    assert first["Link"] == again["Link"] == '</runs/doc.2>; rel="next"'


def test_a_repeat_without_content_has_none(project: Project, operator: Api, builder: Api):
    start(operator)
    lease = claim(builder)
    path, body = f"/leases/{lease['lease_id']}/release", {"fence": lease["fence"]}
    first, again = (builder.post(path, body, KEY) for _ in range(2))
    assert content_of(first) == content_of(again)
    assert again.status_code == 204


def test_a_repeated_claim_is_the_same_lease(project: Project, operator: Api, builder: Api):
    start(operator, plan(phases=2))
    first, again = (builder.post("/claim", {}, KEY).json()["lease_id"] for _ in range(2))
    assert first == again
    assert builder.post("/claim", {}).json()["phase_id"] == "p2"


def test_a_refusal_that_booked_tokens_is_repeated_and_books_none(
    project: Project, operator: Api, builder: Api
):
    start(operator)
    lease = claim(builder)
    end_lease(lease["lease_id"])
    body = {"status": "success", "tokens_used": 7, "lease_id": lease["lease_id"], "fence": lease["fence"]}
    path = "/runs/r1/phases/p1/builder_result"
    first = builder.post(path, body, KEY)
    booked = TokenEntry.objects.filter(tokens=7).count()
    again = builder.post(path, body, KEY)
    assert first.status_code == 409
    assert content_of(first) == content_of(again)
    assert booked == TokenEntry.objects.filter(tokens=7).count() == 1


def test_a_key_is_its_tokens_own(project: Project, operator: Api):
    other = api_for("operator", name="other")
    assert operator.post("/runs/start", plan("r1"), KEY).status_code == 201
    assert other.post("/runs/start", plan("r2"), KEY).status_code == 201


def test_a_key_is_its_paths_own(project: Project, operator: Api):
    start(operator, plan("r1"))
    start(operator, plan("r2"))
    for run_id in ("r1", "r2"):
        assert operator.post(f"/runs/{run_id}/cancel", {}, KEY).json()["run_id"] == run_id


def test_another_query_is_another_request(project: Project, operator: Api):
    start(operator)
    path = "/runs/r1/phases/p1/record_issue?severity=minor&source=probe&category=style&issue_key="
    assert operator.post(f"{path}k1", [], KEY).status_code == 200
    problem_of(operator.post(f"{path}k2", [], KEY), 409, "key-reused")


def test_bodies_are_compared_by_their_bytes(project: Project, operator: Api):
    body = json.dumps(plan())
    assert operator.post("/runs/start", body, KEY).status_code == 201
    problem_of(operator.post("/runs/start", body + " ", KEY), 409, "key-reused")


def test_the_legacy_client_has_keys_too(project: Project, anonymous: Api, settings: Any):
    settings.OPEN_LOOPBACK = True
    answers = [anonymous.post("/runs/start", plan(), KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"])
def test_what_is_no_key_is_422(operator: Api, key: str):
    body = problem_of(operator.post("/runs/start", plan(), {"Idempotency-Key": key}), 422, "invalid")
    assert body["detail"][0]["loc"] == ["header", "Idempotency-Key"]


def test_the_longest_key_is_taken(project: Project, operator: Api):
    assert operator.post("/runs/start", plan(), {"Idempotency-Key": "x" * 255}).status_code == 201


def test_a_body_over_the_limit_is_413_with_a_key_too(operator: Api, settings: Any):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2000
    problem_of(operator.post("/runs/start", b" " * 2001, KEY), 413, "body-too-large")
    assert not KeptAnswer.objects.exists()


def test_a_fault_of_the_server_is_not_kept(project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(services, "start_run", lambda *_, **__: 1 / 0)
        problem_of(operator.post("/runs/start", plan(), KEY), 500, "internal")
    assert operator.post("/runs/start", plan(), KEY).status_code == 201


def test_what_asks_to_come_back_is_not_kept(project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch):
    class Busy(AutopackError):
        code, status, retryable = "busy", 409, True

    def busy(*_: Any, **__: Any) -> None:
        raise Busy

    with monkeypatch.context() as patch:
        patch.setattr(services, "start_run", busy)
        problem_of(operator.post("/runs/start", plan(), KEY), 409, "busy")
    assert operator.post("/runs/start", plan(), KEY).status_code == 201


def test_whoever_may_not_call_leaves_no_key(project: Project, reader: Api, anonymous: Api):
    problem_of(reader.post("/runs/start", plan(), KEY), 403, "role-missing")
    problem_of(anonymous.post("/runs/start", plan(), KEY), 401, "not-authenticated")
    assert not KeptAnswer.objects.exists()


def test_a_get_has_no_use_for_a_key(project: Project, operator: Api):
    assert operator.get("/runs", KEY).status_code == 200
    problem_of(operator.get("/claim", KEY), 405, "method-not-allowed")
    assert not KeptAnswer.objects.exists()


def test_without_a_key_no_query_is_made_for_one(project: Project, operator: Api):
    start(operator)
    with CaptureQueriesContext(connection) as queries:
        operator.post("/claim", {})
    assert not [query for query in queries if "keptanswer" in query["sql"]]


def test_with_a_key_two_queries_are_made_for_it(project: Project, operator: Api):
    start(operator)
    counts = []
    for headers in (None, KEY):
        with CaptureQueriesContext(connection) as queries:
            operator.post("/leases/none/heartbeat", {"fence": 1}, headers)
        counts.append(len(queries))
    assert counts[1] - counts[0] == 2


def test_an_answer_with_a_secret_is_never_stored(
    project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch
):
    real = StartView.post

    def secretive(view: StartView, request: Request) -> Response:
        answer = real(view, request)
        answer["Cache-Control"] = "no-store"
        return answer

    monkeypatch.setattr(StartView, "post", secretive)
    assert operator.post("/runs/start", plan(), KEY).status_code == 201
    row = KeptAnswer.objects.get()
    assert (row.status, row.body, row.headers) == (201, None, {})
    problem_of(operator.post("/runs/start", plan(), KEY), 409, "answer-not-kept")
    assert Run.objects.count() == 1


def test_no_value_of_a_token_is_stored_by_any_route(project: Project, operator: Api):
    for route in POSTS:
        name = f"{route.template}-agent"
        body = {"agent": name, "agent_name": name, "name": name, "roles": ["reader"]}
        operator.post(route.path(), body, KEY)
    kept = [bytes(row.body) for row in KeptAnswer.objects.exclude(body=None)]
    assert kept
    assert not [body for body in kept if re.search(rb"apk_[\w-]{43}", body)]


def test_answers_are_kept_for_seven_days_and_then_swept(project: Project, operator: Api, redis_url: str):
    operator.post("/runs/start", plan(), KEY)
    row = KeptAnswer.objects.get()
    assert abs(row.kept_until - clock.database_now() - timedelta(days=7)) < timedelta(minutes=1)
    tasks.sweep()
    assert KeptAnswer.objects.exists()
    KeptAnswer.objects.update(kept_until=clock.database_now())
    tasks.sweep()
    assert not KeptAnswer.objects.exists()


def test_a_sweep_goes_by_batches(project: Project, operator: Api):
    for number in range(5):
        operator.post("/runs/none/cancel", {}, {"Idempotency-Key": str(number)})
    KeptAnswer.objects.update(kept_until=clock.database_now())
    assert [idempotency.sweep(2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_key_is_free_again_when_its_time_is_over(project: Project, operator: Api):
    problem_of(operator.post("/runs/r1/cancel", {}, KEY), 404, "run-not-found")
    start(operator)
    assert operator.post("/runs/r1/cancel", {}, KEY).status_code == 404
    KeptAnswer.objects.update(kept_until=clock.database_now())
    assert operator.post("/runs/r1/cancel", {"why": "other"}, KEY).status_code == 200


def test_a_database_that_fails_to_keep_costs_no_answer(
    project: Project, operator: Api, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(idempotency.Turn, "_row", fails)
    assert operator.post("/runs/start", plan(), KEY).status_code == 201
    with monkeypatch.context() as patch:
        patch.setattr(services, "start_run", lambda *_, **__: 1 / 0)
        problem_of(operator.post("/runs/start", plan("r2"), {"Idempotency-Key": "2"}), 500, "internal")


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


def test_a_key_goes_with_its_token(project: Project, operator: Api):
    operator.post("/runs/start", plan(), KEY)
    ApiToken.objects.update(revoked_at=clock.now())
    problem_of(operator.post("/runs/start", plan(), KEY), 401, "authentication-failed")
