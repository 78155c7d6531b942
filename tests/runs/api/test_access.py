"""Tokens, roles, project scope; and bodies that mean harm."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as site
from django.test import Client

from autopack_site.kernel import clock
from runs.api.parsers import MAX_DEPTH
from runs.models import ApiToken, Run
from runs.tokens import create_token, revoke_token
from strategy.models import Project
from tests.runs.api.conftest import Api, api_for, make_project, plan, problem_of, start

pytestmark = pytest.mark.django_db
READS = ["/runs", "/runs/r1", "/runs/r1/events", "/runs/r1/integration_status"]
WRITES = [
    "/runs/start",
    "/runs/r1/cancel",
    "/runs/r1/claim",
    "/claim",
    "/leases/x/heartbeat",
    "/leases/x/release",
    "/runs/r1/phases/p1/builder_result",
    "/runs/r1/phases/p1/auditor_request",
    "/runs/r1/phases/p1/auditor_result",
]
ALLOWED = {
    "/runs/start": {"operator"},
    "/runs/r1/cancel": {"operator"},
    "/runs/r1/claim": {"operator", "builder", "auditor"},
    "/claim": {"operator", "builder", "auditor"},
    "/leases/x/heartbeat": {"operator", "builder", "auditor"},
    "/leases/x/release": {"operator", "builder", "auditor"},
    "/runs/r1/phases/p1/builder_result": {"operator", "builder"},
    "/runs/r1/phases/p1/auditor_request": {"operator", "auditor"},
    "/runs/r1/phases/p1/auditor_result": {"operator", "auditor"},
}
ROLES = ["operator", "builder", "auditor", "verifier", "reader"]


def test_without_a_token_there_is_nothing_to_see(anonymous: Api):
    for answer in [*map(anonymous.get, READS), *map(anonymous.post, WRITES)]:
        problem_of(answer, 401, "not-authenticated")
        assert answer["WWW-Authenticate"] == 'Bearer realm="autopack"'


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Basic YTpi",
        "Bearer a b",
        "Bearer \xff",
        "bearer apk_" + "x" * 43,
    ],
)
def test_a_bad_token_is_401(header: str):
    answer = Client().get("/runs", headers={"authorization": header})
    problem_of(answer, 401, "authentication-failed")


def test_a_revoked_or_expired_token_is_401(project: Project):
    gone, late = create_token("gone", roles=["reader"]), create_token("late", roles=["reader"])
    revoke_token(ApiToken.objects.get(agent__name="gone").pk)
    past = clock.now() - timedelta(seconds=1)
    ApiToken.objects.filter(agent__name="late").update(expires_at=past)
    for value in (gone, late):
        problem_of(Api(Client(), value).get("/runs"), 401, "authentication-failed")


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_do_what_it_may_and_no_more(project: Project, role: str):
    api = api_for(role)
    for path in READS:
        assert api.get(path).status_code in (200, 404), path
    for path in WRITES:
        answer = api.post(path, [])  # no route takes a list: who may call is told 422
        if role in ALLOWED[path]:
            assert answer.status_code == 422, (path, answer.content)
        else:
            body = problem_of(answer, 403, "role-missing")
            assert body["detail"].startswith("This needs a token with the role ")


def test_a_run_of_another_project_is_absent(project: Project, operator: Api):
    start(operator)
    other = make_project("other", is_default=False)
    scoped = api_for("operator", name="scoped", project=other)
    assert scoped.get("/runs").json()["runs"] == []
    assert scoped.get("/runs?project_id=demo").json()["runs"] == []
    result = {"status": "success", "review_notes": "", "recommendation": "approve"}
    absent, strange = (
        [
            *(scoped.get(path.replace("r1", run)) for path in READS[1:]),
            *(
                scoped.post(path.replace("r1", run), result)
                for path in WRITES
                if "/r1/" in path
            ),
        ]
        for run in ("r2", "r1")
    )  # fmt: skip
    for nowhere, elsewhere in zip(absent, strange, strict=True):
        assert nowhere.status_code == elsewhere.status_code == 404
        words = [json.loads(answer.content)["detail"] for answer in (nowhere, elsewhere)]
        assert words[0].replace("r2", "r1") == words[1]
    assert Run.objects.get().state == "PHASE_QUEUEING"


@pytest.mark.parametrize(
    "path", ["/runs/a..b", "/runs/-a", "/runs/a.lock", "/runs/%00", "/runs/%ff", "/runs/" + "a" * 129]
)
def test_what_is_no_id_is_422(reader: Api, path: str):
    assert problem_of(reader.get(path), 422, "invalid")["detail"][0]["loc"] == ["path", "run_id"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid-json"),
        (b"\xff\xfe", "invalid-json"),
        (b'{"run": NaN}', "invalid-json"),
        (b'{"run": Infinity}', "invalid-json"),
        (b"9" * 5000, "invalid-json"),
        (b'{"run": 1e999}', "invalid"),
        (b"[" * 100_000, "invalid"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "invalid"),
        (json.dumps({"a": [[]] * 200_001}).encode(), "invalid"),
        (b'{"run": {"run_id": "a\\u0000b"}}', "invalid"),
        (b'{"run": {"run_id": "a\\ud800b"}}', "invalid"),
        (b'{"\\u0000": 1}', "invalid"),
        (b'"text"', "invalid"),
        (b"7", "invalid"),
        (b"null", "invalid"),
        (b"[]", "invalid"),
    ],
    ids=lambda value: value[:20].decode("ascii", "replace") if isinstance(value, bytes) else value,
)
def test_a_hostile_body_is_422(operator: Api, body: bytes, code: str):
    problem_of(operator.post("/runs/start", body), 422, code)


def test_text_the_database_refuses_is_found_where_it_is(project: Project, operator: Api, builder: Api):
    start(operator)
    body = {"status": "success", "probe_results": [{"probe_type": "x", "exit_code": 0, "stdout": "a\0"}]}
    answer = builder.post("/runs/r1/phases/p1/builder_result", body)
    detail = problem_of(answer, 422, "invalid")["detail"]
    assert detail[0]["type"] == "nul_character"
    assert detail[0]["loc"] == ["body", "probe_results", 0, "stdout"]


def test_depth_is_bounded_exactly(project: Project, operator: Api):
    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(levels - 1):
            value = [value]
        return {**plan(), "extra": value}

    problem_of(operator.post("/runs/start", nested(MAX_DEPTH + 1)), 422, "invalid")
    assert operator.post("/runs/start", nested(MAX_DEPTH)).status_code == 201


def test_a_body_over_the_limit_is_413(operator: Api, settings: Any):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2000
    body = problem_of(operator.post("/runs/start", b" " * 2001), 413, "body-too-large")
    assert body["limit_bytes"] == 2000
    problem_of(operator.post("/runs/start", b" " * 2000), 422, "invalid")


def test_the_limit_is_the_setting():
    assert site.DATA_UPLOAD_MAX_MEMORY_SIZE == 16 * 1024 * 1024


def test_another_media_type_is_415(operator: Api):
    answer = operator.client.post(
        "/runs/start", "run_id=1", "text/plain", headers={"authorization": f"Bearer {operator.token}"}
    )
    problem_of(answer, 415, "unsupported-media-type")


def test_the_legacy_client_may_do_its_part_and_no_more(
    project: Project, anonymous: Api, operator: Api, settings: Any
):
    settings.OPEN_LOOPBACK = True
    start(anonymous)
    assert anonymous.get("/runs/r1").status_code == 200
    assert anonymous.post("/runs/r1/claim", {}).status_code == 201
    assert anonymous.post("/runs/r1/phases/p1/auditor_request").status_code == 200
    problem_of(anonymous.post("/runs/r1/cancel", {}), 403, "role-missing")
