"""Which answers are kept for a repeat, for how long, and what is never stored."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from rest_framework.request import Request
from rest_framework.response import Response

from autopack_site.kernel import clock
from autopack_site.kernel.errors import AutopackError
from runs import idempotency, services, tasks
from runs.api.runs import StartView
from runs.models import KeptAnswer, Run
from strategy.models import Project
from tests.edge.routes import routes
from tests.runs.api.conftest import Api, plan, problem_of, start

pytestmark = pytest.mark.django_db
KEY = {"Idempotency-Key": "job-7"}
POSTS = [route for route in routes() if route.method == "POST"]


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
    kept = [bytes(row.body or b"") for row in KeptAnswer.objects.exclude(body=None)]
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
