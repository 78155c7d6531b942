"""`Idempotency-Key`: a POST that comes again is carried out once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from autopack_site.kernel import clock
from runs.api.views import AgentView
from runs.models import ApiToken, KeptAnswer, Run, TokenEntry
from strategy.models import Project
from tests.edge.routes import Route, routes
from tests.runs.api.conftest import Api, api_for, plan, problem_of, start
from tests.runs.api.test_claims import claim, end_lease

pytestmark = pytest.mark.django_db
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


def test_a_key_goes_with_its_token(project: Project, operator: Api):
    operator.post("/runs/start", plan(), KEY)
    ApiToken.objects.update(revoked_at=clock.now())
    problem_of(operator.post("/runs/start", plan(), KEY), 401, "authentication-failed")
